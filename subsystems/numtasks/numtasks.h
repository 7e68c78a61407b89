/* numtasks: the record a container has in this subsystem, shared by BPF and the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_H

#include "ctnbpf/abi.h"

/* Subsystem number; the registry in src/registry.cpp and the hooks agree on it. */
#define CTN_NUMTASKS 0

/* By slot. `current` counts the tasks of the subtree, from fork until reaped. The record of a root
 * stays zero: a root has no limit, and the kernel itself counts all tasks. */
struct numtasks_state {
  __u64 current;
  __u64 limit;   /* CTN_UNLIMITED or 0 .. 4194304 */
  __u64 peak;    /* highest `current` seen when one left; readers take the larger of the two */
  __u64 failcnt; /* forks refused to tasks of this very container, by any limit */
  __u64 events;  /* forks refused by this container's limit, here or below */
  __u32 parent;  /* slot; a copy of the node's, so that a charge reads one line a level */
  __u32 reserved;
  __u64 pad[2];
};
CTN_ASSERT(sizeof(struct numtasks_state) == 64, "a record is one cache line");

#endif
