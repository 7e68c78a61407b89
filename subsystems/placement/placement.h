/* Placement: the records cpuset and memset share, one shape for both. Shared by BPF and the control
 * plane. */
#ifndef CTNBPF_SUBSYSTEMS_PLACEMENT_H
#define CTNBPF_SUBSYSTEMS_PLACEMENT_H

#include <linux/types.h>

#include "ctnbpf/abi.h"

enum place_flag {
  PLACE_EXCLUSIVE = 1 << 0, /* shares nothing with siblings */
  PLACE_MIGRATE = 1 << 1,   /* memset: pages of tasks that are here move too */
  PLACE_BANK = 1 << 2,      /* which of the two sets of its own is the one that counts */
  /* of a root, for its hierarchy */
  PLACE_STRICT = 1 << 3,  /* nobody comes into a container before it has a set of its own */
  PLACE_AUTO = 1 << 4,    /* the driver was chosen by us */
  PLACE_CGROUP2 = 1 << 5, /* the driver; neither: affinity */
  PLACE_CGROUP1 = 1 << 6,
  /* of a container: its set in force was changed, and its tasks may not have been placed yet */
  PLACE_UNSETTLED = 1 << 7,
};

/* One per slot. */
struct place_state {
  __u32 flags;   /* enum place_flag */
  __u32 strayed; /* of a root: how many of CTN_MISS_STRAYED have been put right */
  __u64 group;   /* of a root: inode of the group of ours in cgroup v2, or 0 */
};

/* Beside it, by slot, sets of as many words as this machine's highest CPU or node needs. A change of
 * the own set is written to the bank that does not count, and made by the one store that turns
 * PLACE_BANK. */
enum place_set {
  PLACE_OWN,       /* the list that was set; empty: inherits */
  PLACE_OWN_OTHER, /* ... with PLACE_BANK */
  PLACE_IN_FORCE, /* what the tasks may use, and the kernel was told; of a root: what was online then */
  PLACE_PLACED, /* what they were last placed by: is a mask a task's own, or all of the set? */
  PLACE_SETS,
};

/* What i_own_masks prints: a task whose CPU mask would be lost if the kernel's cpuset controller were switched
 * over. */
struct place_own_mask {
  __u32 tid;
  char comm[16];
};

/* The highest number a CPU can have is the kernel's to choose up to this, a node likewise. */
#define PLACE_MAX_CPUS 8192
#define PLACE_MAX_NODES 1024
#define PLACE_MAX_WORDS (PLACE_MAX_CPUS / 64)

#endif
