/* rig: a subsystem for tests alone, one more than what is shipped. It counts what it is told, refuses
 * what a test wants refused, and holds containers by references. Shared by BPF and C++. */
#ifndef CTNBPF_TESTS_RIG_H
#define CTNBPF_TESTS_RIG_H

#include "ctnbpf/abi.h"

#define CTN_RIG 15 /* the last number there is */

/* By slot. Of a container the fields count what happened to its tasks there. */
struct rig_state {
  __u64 forks;    /* children charged here */
  __u64 released; /* of those, reaped or freed */
  __u64 exits;    /* tasks that left by exiting, or as their fork failed */
  __u64 came;     /* by a move */
  __u64 went;
  __u64 refused; /* forks */
  __u32 refuse_forks;
  __u32 hold; /* each child forked here holds a reference to the container until it is reaped */
  __u64 pad;
};
CTN_ASSERT(sizeof(struct rig_state) == 64, "a record is one cache line");

#endif
