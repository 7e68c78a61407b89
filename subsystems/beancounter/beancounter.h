/* The record of one resource of a container that is counted up the tree: a "bean counter". Shared by
 * BPF and the control plane. numfiles is the first such resource; see beancounter.bpf.h and
 * beancounter_ops.h for what makes another one. */
#ifndef CTNBPF_SUBSYSTEMS_BEANCOUNTER_H
#define CTNBPF_SUBSYSTEMS_BEANCOUNTER_H

#include "ctnbpf/abi.h"

/* How much a charge insists. */
enum beans_severity {
  BEANS_BARRIER, /* ordinary: refused above the barrier */
  BEANS_LIMIT,   /* for the privileged: refused above the limit */
  BEANS_FORCE,   /* never refused: what is there already */
};

/* Of the resource (core.modes): charges are made to the container only, not to those above it. Of a
 * charge: it was made so. */
#define BEANS_FLAT 1U

/* By slot. A root's record stays zero. */
struct beans_state {
  __u64 held;    /* of the subtree, see CTN_GRANTED; with BEANS_FLAT of this very container */
  __u64 barrier; /* CTN_UNLIMITED, or a number; at most `limit` */
  __u64 limit;
  __u64 maxheld; /* highest `held` when one was given back; readers take the larger of the two */
  __u64 minheld; /* lowest `held` after one was given back */
  __u64 failcnt; /* charges refused to tasks of this very container, by any barrier or limit */
  __u64 events;  /* charges refused by the barrier or limit of this container, here or below */
  __u32 parent;  /* slot; a copy of the node's, so that a charge reads one line a level */
  __u32 reserved;
};
CTN_ASSERT(sizeof(struct beans_state) == 64, "a record is one cache line");

#endif
