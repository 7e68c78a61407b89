/* The kernel sides of the subsystems, and what the core calls of them, in table order (as in
 * subsystems/registry.cpp). A subsystem that is not bound finds no container and does nothing.
 *
 * The programs of hooks that only one subsystem has (context switches, open files) are its own. */
#ifndef CTNBPF_BPF_SUBSYSTEMS_BPF_H
#define CTNBPF_BPF_SUBSYSTEMS_BPF_H

#include "ctn.bpf.h"
#include "events.bpf.h"
#include "cpuset/cpuset.bpf.h"
#include "memset/memset.bpf.h"
#include "cpuacct/cpuacct.bpf.h"
#include "numtasks/numtasks.bpf.h"
#include "numfiles/numfiles.bpf.h"
#include "numfiles/numfiles_gate.bpf.h"

/* One more, given by whoever builds the object: it defines the extra_ functions below. */
#ifdef CTN_EXTRA_SUBSYSTEM
#include CTN_EXTRA_SUBSYSTEM
#else
static __always_inline int extra_fork(struct ctn_task *child) { return 0; }
static __always_inline void extra_adopt(struct ctn_task *child) {}
static __always_inline void extra_attach(struct ctn_task *task, __u32 h, __u32 from, __u32 to) {}
static __always_inline void extra_exit(struct ctn_task *task, __u32 h, __u32 slot) {}
static __always_inline void extra_release(struct ctn_task *task) {}
#endif

/* A fork, in the forker's context: charges the child, which nobody knows yet. The first refusal is
 * the fork's error; then subsystems_release() takes back what the others charged. */
static __always_inline int subsystems_fork(struct ctn_task *child) {
  int err = numtasks_fork(child);
  return err ? err : extra_fork(child);
}

/* May a child be born where the table of tasks has no more to lend? Only under a limit that is small enough; who may
 * not is told of. */
static __always_inline bool subsystems_may_borrow(const struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (numtasks_is_bounded(slot, core.lending[CTN_LEND_TASKS].bounded)) return true;
  count_miss(CTN_MISS_TASK_LENT);
  if (slot) event_refused(CTN_EVENT_FORK_REFUSED, slot, core.bound[CTN_NUMTASKS] - 1);
  return false;
}

/* A child that is there already, so that refusing is too late: charged by force. */
static __always_inline void subsystems_adopt(struct ctn_task *child) {
  numtasks_adopt(child);
  extra_adopt(child);
}

/* The task is about to be moved out of `from` in hierarchy `h`. */
static __always_inline void subsystems_leave(struct ctn_task *record, struct task_struct *task,
                                             __u32 h, __u32 from) {
  if (core.bound[CTN_CPUACCT] == h + 1) cpuacct_leave(record, task, from);
}

/* The task was moved in hierarchy `h`: its charges follow. It may exit and be reaped meanwhile. */
static __always_inline void subsystems_attach(struct ctn_task *record, __u32 h, __u32 from,
                                              __u32 to) {
  if (core.bound[CTN_NUMTASKS] == h + 1) numtasks_attach(record, from, to);
  extra_attach(record, h, from, to);
}

/* What subsystems_born() asks to be told: where a child is for cpuset. */
static __always_inline __u32 subsystems_before(const struct ctn_task *child) {
  return task_slot(child, CTN_CPUSET);
}

/* A child was put right after its gate (t_newtask), or `into` another control group than its forker's. */
static __always_inline void subsystems_born(struct task_struct *child, struct ctn_task *record,
                                            __u32 before, bool into) {
  cpuset_born(child, record, before, into);
}

/* The task exits, or its fork failed: it leaves `slot` of hierarchy `h`. Once for each hierarchy. */
static __always_inline void subsystems_exit(struct ctn_task *record, __u32 h, __u32 slot) {
  extra_exit(record, h, slot);
}

/* The task is freed, and its record, at `place` in the table of tasks, about to be given up. */
static __always_inline void subsystems_gone(__u64 place) {
  if (files_are_reserved) numfiles_unreserve_at(place);
}

/* The task is reaped, or freed; called for both. */
static __always_inline void subsystems_release(struct ctn_task *record) {
  numtasks_release(record);
  extra_release(record);
}

#endif
