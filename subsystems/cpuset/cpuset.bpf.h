/* cpuset, kernel side: no member leaves its CPUs.
 *
 * A member's own sched_setaffinity, and anyone's for it, is refused with EINVAL unless all of the mask
 * lies in the set. The security hook that can refuse is not told the mask, and the task's memory it
 * came from can change meanwhile; so a program at the function's entry notes where the kernel has its
 * copy, and the hook, which runs inside of that function, reads it there. Should the first be skipped
 * (preempt=full), the hook knows by the system call's number that a mask is to be set, and refuses.
 *
 * Tasks that are in a group of the kernel's cpuset controller are left to that: it cuts the mask down
 * to the set. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_BPF_H
#define CTNBPF_SUBSYSTEMS_CPUSET_BPF_H

#include "cpuset/cpuset.h"
#include "events.bpf.h"
#include "placement/placement.bpf.h"

PLACE_MAPS(cpuset);

/* By the task that is in sched_setaffinity(): where the kernel's copy of its mask is. Full, or its
 * bucket is busy: as if the program had been skipped. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, __u64);
} setaffinity SEC(".maps");

/* Is some CPU of a mask, at this address in the kernel, not in force for `slot`? */
static __always_inline bool cpuset_outside(__u32 slot, const void *mask) {
  for (__u32 i = 0; i < PLACE_MAX_WORDS; i++) {
    if (i >= place_words) break;
    __u32 at = (slot * PLACE_SETS + PLACE_IN_FORCE) * place_words + i;
    __u64 *allowed = bpf_map_lookup_elem(&cpuset_sets, &at), word = 0;
    if (!allowed || bpf_probe_read_kernel(&word, sizeof(word), mask + i * sizeof(word)))
      return true;
    if (word & ~*(volatile __u64 *)allowed) return true;
  }
  return false;
}

/* Is the task in one of our groups of cgroup v2, or the hierarchy uses those of v1? */
static __always_inline bool cpuset_in_group(struct task_struct *task) {
  __u32 root = core.bound[CTN_CPUSET] - 1;
  struct place_state *state = bpf_map_lookup_elem(&cpuset_states, &root);
  if (!state) return false;
  if (state->flags & PLACE_CGROUP1) return true;
  if (!(state->flags & PLACE_CGROUP2) || !state->group) return false;
  /* A pair's group, its home, all of ours: see placement/groups.h. */
  struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp);
  for (int level = 0; level < 3 && group; level++) {
    if (BPF_CORE_READ(group, kn, id) == state->group) return true;
    struct cgroup_subsys_state *above = BPF_CORE_READ(group, self.parent);
    group = above ? BPF_CORE_READ(above, cgroup) : NULL;
  }
  return false;
}

static __always_inline void cpuset_note_mask(const void *mask) {
  __u64 task = (__u64)bpf_get_current_task(), at = (__u64)mask;
  bpf_map_update_elem(&setaffinity, &task, &at, BPF_ANY);
}

/* x86-64: the number is 203, with a bit set by x32 programs; 241 in 32-bit ones. */
static __always_inline bool is_setaffinity(void) {
  struct task_struct *current = bpf_get_current_task_btf();
  struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(current);
  unsigned long number = BPF_CORE_READ(regs, orig_ax) & ~0x40000000UL;
  return number == (current->thread_info.status & TS_COMPAT ? 241 : 203);
}

/* Something about how `task` is scheduled is about to be set by the current task. */
static __always_inline int cpuset_setscheduler(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  __u64 *noted = bpf_map_lookup_elem(&setaffinity, &self), mask = noted ? *noted : 0;
  if (noted) bpf_map_delete_elem(&setaffinity, &self);
  if (!is_setaffinity()) return 0;
  struct ctn_task *record = task_find(task);
  __u32 slot = record ? task_slot(record, CTN_CPUSET) : 0;
  if (slot < CTN_MAX_HIER || cpuset_in_group(task)) return 0;
  return !mask || cpuset_outside(slot, (const void *)mask) ? -EINVAL : 0;
}

static __always_inline bool cpuset_confines(__u32 slot) {
  if (slot < CTN_MAX_HIER) return false;
  for (__u32 i = 0; i < PLACE_MAX_WORDS; i++) {
    if (i >= place_words) break;
    __u32 at = (slot * PLACE_SETS + PLACE_IN_FORCE) * place_words + i;
    __u64 *allowed = bpf_map_lookup_elem(&cpuset_sets, &at);
    if (allowed && ~*(volatile __u64 *)allowed) return true;
  }
  return false;
}

/* A child has its forker's mask, and group, of the moment the fork began. If the set was changed, or the
 * forker attached, after that, nobody who places tasks may have seen the child yet. `before` is the
 * container it was to be in when the fork began. */
static __always_inline void cpuset_born(struct task_struct *child, struct ctn_task *record,
                                        __u32 before) {
  __u32 slot = task_slot(record, CTN_CPUSET);
  bool moved = before != slot && (cpuset_confines(before) || cpuset_confines(slot));
  if (!moved &&
      (slot < CTN_MAX_HIER || !cpuset_outside(slot, &child->cpus_mask) || cpuset_in_group(child)))
    return;
  count_miss(CTN_MISS_STRAYED);
  event_emit(CTN_EVENT_STRAYED, slot, slot);
}

#endif
