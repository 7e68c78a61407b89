/* numtasks: the record a container has in this subsystem, shared by BPF and the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_H

#include "ctnbpf/abi.h"
#include "numtasks/forkrate.h"
#include "shares/shares_record.h"

/* Subsystem number; the registry in subsystems/registry.cpp and the hooks agree on it. */
#define CTN_NUMTASKS 0

/* Set in a task's word `numtasks`, beside the slot charged: the charge is in the words of shares too. */
#define NUMTASKS_SHARED (1U << 31)

/* Flags of a record, set by the control plane. */
#define NUMTASKS_SHARES (1U << 0)    /* shares are in force: charge the words of shares as well */
#define NUMTASKS_RATED (1U << 1)     /* a fork rate applies, of this container or of one above */
#define NUMTASKS_RATE_HERE (1U << 2) /* this container's own */

/* By slot. `current` counts the tasks of the subtree (CTN_GRANTED), from fork until reaped. Of a root's record only
 * what belongs to shares is used, and the counts of refusals: a root has no limit, and the kernel
 * itself counts all tasks. The first line is all that a fork without a rate touches. */
struct numtasks_state {
  __u64 current;
  __u64 bound;     /* the smaller of `limit` and the ceiling */
  __u64 share;     /* usage and pool: see shares/shares_record.h */
  __u64 peak;      /* highest `current` seen when one left; readers take the larger of the two */
  __u64 successes; /* forks of tasks of this very container that were let in */
  __u64 failcnt;   /* forks refused to tasks of this very container, by any limit */
  __u64 events;    /* forks refused by this container's limit or ceiling, here or below */
  __u32 parent;    /* slot; a copy of the node's, so that a charge reads one line a level */
  __u32 flags;
  /* second line */
  __u64 limit;         /* CTN_UNLIMITED or 0 .. 4194304 */
  __u64 rate_failures; /* forks refused to tasks of this very container, by any fork rate */
  __u64 rate_events;   /* forks refused by this container's fork rate, here or below */
  __u32 rate;          /* forks in an interval; counts with NUMTASKS_RATE_HERE */
  __u32 rate_interval; /* seconds; 0 stands for 1 */
  struct ctn_shares shares;
  __u32 total; /* of a root: what is to be shared out; 0: the kernel's threads-max */
  __u32
      changing; /* of a root: the words of shares are being changed; if still so: see shares_in_force */
  __u32 rate_sequence; /* see forkrate.h */
};
CTN_ASSERT(sizeof(struct numtasks_state) == 128, "a record is two cache lines");
CTN_ASSERT(sizeof(struct numtasks_rate) == 128, "a record is two cache lines");

#endif
