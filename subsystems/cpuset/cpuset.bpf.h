/* cpuset, kernel side: no member leaves its CPUs.
 *
 * A member's own sched_setaffinity, and anyone's for it, is refused with EINVAL unless all of the mask
 * lies in the set. The security hook that can refuse is not told the mask, and the task's memory it
 * came from can change meanwhile; so a program at the function's entry notes where the kernel has its
 * copy, and the hook, which runs inside of that function, reads it there. Should the first be skipped
 * (preempt=full), the hook knows by the system call's number that a mask is to be set, and refuses.
 *
 * Without LSM where tasks are preempted in the kernel, the program that can refuse may be skipped. There a
 * kprobe, which never is, judges; three very short programs refuse what it did not allow; and should all
 * three be skipped for one call, a kprobe at the function's return sees that it was done all the same, and
 * has the task put back.
 *
 * Tasks that are in a group of the kernel's cpuset controller are left to that: it cuts the mask down
 * to the set. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_BPF_H
#define CTNBPF_SUBSYSTEMS_CPUSET_BPF_H

#include "cpuset/cpuset.h"
#include "events.bpf.h"
#include "placement/placement.bpf.h"

PLACE_MAPS(cpuset);

enum cpuset_verdict { CPUSET_UNJUDGED, CPUSET_ALLOWED, CPUSET_REFUSED };

/* By the task that is in sched_setaffinity(). Full, or its bucket is busy: as if the program had been
 * skipped. */
struct setaffinity_call {
  __u64 mask;    /* where the kernel's copy is, until it is judged */
  __u32 verdict; /* of the kprobe that judges */
  __u32 slot;    /* of the task whose mask is to be set */
};
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, struct setaffinity_call);
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
  __u64 task = (__u64)bpf_get_current_task();
  struct setaffinity_call call = {.mask = (__u64)mask};
  bpf_map_update_elem(&setaffinity, &task, &call, BPF_ANY);
}

/* x86-64: the number is 203, with a bit set by x32 programs; 241 in 32-bit ones. */
static __always_inline bool is_setaffinity(void) {
  struct task_struct *current = bpf_get_current_task_btf();
  struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(current);
  unsigned long number = BPF_CORE_READ(regs, orig_ax) & ~0x40000000UL;
  return number == (current->thread_info.status & TS_COMPAT ? 241 : 203);
}

/* The container whose CPUs `task` has to keep to by itself, or 0. */
static __noinline __u32 cpuset_confined_to(struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  __u32 slot = record ? task_slot(record, CTN_CPUSET) : 0;
  return slot < CTN_MAX_HIER || cpuset_in_group(task) ? 0 : slot;
}

/* Something about how `task` is scheduled is about to be set by the current task. */
static __always_inline int cpuset_setscheduler(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *call = bpf_map_lookup_elem(&setaffinity, &self);
  __u64 mask = call ? call->mask : 0;
  if (call) bpf_map_delete_elem(&setaffinity, &self);
  if (!is_setaffinity()) return 0;
  __u32 slot = cpuset_confined_to(task);
  return slot && (!mask || cpuset_outside(slot, (const void *)mask)) ? -EINVAL : 0;
}

/* The same by a kprobe, which cannot refuse: the verdict stands in the task's note. */
static __always_inline void cpuset_judge(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *noted = bpf_map_lookup_elem(&setaffinity, &self);
  __u64 mask = noted ? noted->mask : 0;
  if (!is_setaffinity()) { /* a note that was left over */
    if (noted) bpf_map_delete_elem(&setaffinity, &self);
    return;
  }
  struct setaffinity_call call = {.verdict = CPUSET_ALLOWED, .slot = cpuset_confined_to(task)};
  if (call.slot && (!mask || cpuset_outside(call.slot, (const void *)mask)))
    call.verdict = CPUSET_REFUSED;
  bpf_map_update_elem(&setaffinity, &self, &call, BPF_ANY);
}

/* By the programs that refuse what the kprobe judged. Without a verdict, whoever is confined is refused. */
static __always_inline int cpuset_was_refused(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *call = bpf_map_lookup_elem(&setaffinity, &self);
  if (call && call->verdict) return call->verdict == CPUSET_REFUSED ? -EINVAL : 0;
  return is_setaffinity() && cpuset_confined_to(task) ? -EINVAL : 0;
}

/* A task is outside of its CPUs: the next writer, agentd at the latest, places it anew. */
static __always_inline void cpuset_strayed(__u32 slot) {
  count_miss(CTN_MISS_STRAYED);
  event_emit(CTN_EVENT_STRAYED, slot, slot);
}

/* At the end of sched_setaffinity(). */
static __always_inline void cpuset_was_set(long err) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *call = bpf_map_lookup_elem(&setaffinity, &self);
  if (!call) return;
  if (call->verdict == CPUSET_REFUSED && !err) cpuset_strayed(call->slot);
  bpf_map_delete_elem(&setaffinity, &self);
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
  cpuset_strayed(slot);
}

#endif
