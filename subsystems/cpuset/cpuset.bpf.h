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
 * to the set. They are kept in it: the same hook is called for each task that is moved to another cpuset, until
 * 6.1 always, later if CPUs or nodes of the two differ. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_BPF_H
#define CTNBPF_SUBSYSTEMS_CPUSET_BPF_H

#include "cpuset/cpuset.h"
#include "events.bpf.h"
#include "memset/memset.bpf.h"
#include "placement/placement.bpf.h"

PLACE_MAPS(cpuset);
PLACE_CONFINES(cpuset)

enum cpuset_verdict { CPUSET_UNJUDGED, CPUSET_ALLOWED, CPUSET_REFUSED };

/* By the task that is, or was last, in sched_setaffinity(). Full, or its bucket is busy: as if the program
 * had been skipped. */
struct setaffinity_call {
  __u64 mask; /* where the kernel's copy is, until the call is checked */
  __u32 turn; /* `affinity_turn` when it was checked; 0: it was not yet, or it is seen to be over */
  __u32 verdict; /* of the kprobe that judges */
  __u32 slot;    /* of the task whose mask is to be set */
  __u32 unused;
};
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, struct setaffinity_call);
} setaffinity SEC(".maps");

/* Raised by the writer when what masks are checked against has changed. The kernel stores a mask some time
 * after the check, so the writer then waits for the calls that were checked before (i_setting), and places
 * after that. */
__u32 affinity_turn SEC(".data.affinity_turn") = 1;

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

/* Of the hierarchy that a subsystem is bound to; NULL: of none. */
#define place_root(name, subsystem)                                   \
  ({                                                                  \
    __u32 root = core.bound[subsystem] - 1;                           \
    (struct place_state *)bpf_map_lookup_elem(&name##_states, &root); \
  })

/* Is the task in one of our groups of cgroup v2, or the hierarchy uses those of v1? */
static __always_inline bool place_in_group(struct task_struct *task, struct place_state *state) {
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

static __always_inline bool cpuset_in_group(struct task_struct *task) {
  return place_in_group(task, place_root(cpuset, CTN_CPUSET));
}

static __always_inline bool by_groups(struct place_state *state) {
  return state && state->flags & (PLACE_CGROUP2 | PLACE_CGROUP1);
}

/* ... of either subsystem: they share their groups. */
static __always_inline bool in_any_group(struct task_struct *task) {
  return cpuset_in_group(task) || place_in_group(task, place_root(memset, CTN_MEMSET));
}

static __always_inline void cpuset_note_mask(const void *mask) {
  __u64 task = (__u64)bpf_get_current_task();
  struct setaffinity_call call = {.mask = (__u64)mask};
  bpf_map_update_elem(&setaffinity, &task, &call, BPF_ANY);
}

/* What a task has called; the numbers are in vmlinux/x86.h and arm64.h. One that is in no system call has the
 * number of its last one until its registers are saved anew, by an interrupt at the latest. */
enum place_call { PLACE_CALL_AFFINITY, PLACE_CALL_SCHEDULER, PLACE_CALL_CLONE3, PLACE_CALL_OTHER };

static __always_inline enum place_call place_call(struct task_struct *task) {
  struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
  unsigned long number = CALL_NUMBER(regs);
  bool compat = CALL_OF_32_BITS(task);
  if (number == CALL_SCHED_SETAFFINITY(compat)) return PLACE_CALL_AFFINITY;
  if (number == CALL_SCHED_SETPARAM(compat) || number == CALL_SCHED_SETSCHEDULER(compat) ||
      number == CALL_SCHED_SETATTR(compat))
    return PLACE_CALL_SCHEDULER;
  return number == 435 ? PLACE_CALL_CLONE3 : PLACE_CALL_OTHER;
}

/* `task` is on its way to another cpuset of the kernel's, and the current task is who moves it. Not with those
 * who place: they come here for each. One that is placed by affinity may go, as container engines and service
 * managers do that; until 6.1 the kernel then gives it all CPUs of where it comes to, which t_moved sees. */
static __noinline int cpuset_migrate(struct task_struct *task, enum place_call call) {
  if (call == PLACE_CALL_SCHEDULER) return 0;
  struct ctn_task *record = task_find(task);
  if (!record) return 0;
  if (!cpuset_confines(task_slot(record, CTN_CPUSET)) &&
      !memset_confines(task_slot(record, CTN_MEMSET)))
    return 0;
  if (is_placing()) return 0;
  /* The child of a member, into a group that the member asked for: it is in none yet. */
  if (call == PLACE_CALL_CLONE3) return in_any_group(bpf_get_current_task_btf()) ? -EPERM : 0;
  struct css_set *to = BPF_CORE_READ(task, cgroups, mg_dst_cset);
  if (!to) return 0;
  /* In the same group of v2: the controller is being switched over for it. */
  struct place_state *state = place_root(cpuset, CTN_CPUSET);
  if (!(state && state->flags & PLACE_CGROUP1) &&
      BPF_CORE_READ(to, dfl_cgrp) == BPF_CORE_READ(task, cgroups, dfl_cgrp))
    return 0;
  return in_any_group(task) ? -EPERM : 0;
}

/* The container whose CPUs `task` has to keep to by itself, or 0. */
static __noinline __u32 cpuset_confined_to(struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  __u32 slot = record ? task_slot(record, CTN_CPUSET) : 0;
  return slot < CTN_MAX_HIER || cpuset_in_group(task) ? 0 : slot;
}

/* The mask of a call that is checked now, or 0. The turn is read and stored before anything the mask is checked
 * against is read; the exchange is a barrier. So either the writer, who changes that first and the turn then,
 * finds this call with an earlier turn, or this finds what it changed. */
static __always_inline __u64 cpuset_take_mask(struct setaffinity_call *call) {
  if (!call) return 0;
  call->turn = *(volatile __u32 *)&affinity_turn;
  __u64 mask = __sync_lock_test_and_set(&call->mask, 0);
  asm volatile("" : "+r"(mask)::"memory");
  return mask;
}

/* Something about how `task` is scheduled is about to be set by the current task. */
static __always_inline int cpuset_setscheduler(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  __u64 mask = cpuset_take_mask(bpf_map_lookup_elem(&setaffinity, &self));
  enum place_call call = place_call(bpf_get_current_task_btf());
  if (call != PLACE_CALL_AFFINITY) return cpuset_migrate(task, call);
  __u32 slot = cpuset_confined_to(task);
  return slot && (!mask || cpuset_outside(slot, (const void *)mask)) ? -EINVAL : 0;
}

/* The same by a kprobe, which cannot refuse: the verdict stands in the task's note. */
static __always_inline void cpuset_judge(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *noted = bpf_map_lookup_elem(&setaffinity, &self);
  struct setaffinity_call call = {.turn = *(volatile __u32 *)&affinity_turn};
  __u64 mask = cpuset_take_mask(noted);
  if (place_call(bpf_get_current_task_btf()) != PLACE_CALL_AFFINITY) {
    if (noted) noted->verdict = CPUSET_UNJUDGED; /* was left over */
    return;
  }
  if (noted) call.turn = noted->turn;
  call.slot = cpuset_confined_to(task);
  bool refused = call.slot && (!mask || cpuset_outside(call.slot, (const void *)mask));
  call.verdict = refused ? CPUSET_REFUSED : CPUSET_ALLOWED;
  bpf_map_update_elem(&setaffinity, &self, &call, BPF_ANY);
}

/* By the programs that refuse what the kprobe judged. Without a verdict, whoever is confined is refused. Moves to
 * other groups, which are rare, are judged here. */
static __always_inline int cpuset_was_refused(struct task_struct *task) {
  __u64 self = (__u64)bpf_get_current_task();
  struct setaffinity_call *noted = bpf_map_lookup_elem(&setaffinity, &self);
  if (noted && noted->verdict) return noted->verdict == CPUSET_REFUSED ? -EINVAL : 0;
  enum place_call call = place_call(bpf_get_current_task_btf());
  if (call != PLACE_CALL_AFFINITY) return cpuset_migrate(task, call);
  return cpuset_confined_to(task) ? -EINVAL : 0;
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
  call->verdict = CPUSET_UNJUDGED;
  call->turn = 0;
}

/* Is the task in a call that was checked before this turn? Also where the note of it was lost. Who is stopped
 * is on its way out of a call, or before its check. */
static __always_inline bool cpuset_is_setting(struct task_struct *task) {
  if (task->flags & (PF_KTHREAD | PF_EXITING) || task->__state & (TASK_STOPPED | TASK_TRACED))
    return false;
  if (place_call(task) != PLACE_CALL_AFFINITY) return false;
  __u64 key = (__u64)task;
  struct setaffinity_call *call = bpf_map_lookup_elem(&setaffinity, &key);
  if (!call) return true;
  __u32 turn = *(volatile __u32 *)&call->turn;
  return turn && turn != affinity_turn;
}

/* --- masks that tasks came with ------------------------------------------------------------------
 *
 * Remembered by the writer, before it places a task that has no number yet: again until a pass remembers
 * nobody. From then on each forker has a number, and its child gets that at the gate, or at newtask when the
 * gate ran before; the writer places nobody before, so a mask that is read here is never one of ours. */

/* Masks by number: CAME_WITH_MASKS of `place_words`. Mapped by the control plane. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* set at load */
  __type(key, __u32);
  __type(value, __u64);
} came_with_masks SEC(".maps");

struct came_with_key {
  __u64 words[PLACE_MAX_WORDS];
};

/* And numbers by mask. The writer takes those out that nobody has any more. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, CAME_WITH_MASKS);
  __uint(key_size, sizeof(struct came_with_key)); /* set at load */
  __uint(value_size, sizeof(__u32));
} came_with_numbers SEC(".maps");

/* Room for one key; there is one writer. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct came_with_key);
} came_with_scratch SEC(".maps");

/* Tids of tasks that have their mask back. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1); /* set at load */
  __type(key, __u32);
  __type(value, __u8);
} came_with_done SEC(".maps");

struct came_with_state came_with SEC(".data.came_with") = {.next = 1, .end = CAME_WITH_MASKS};

/* What the task asked for itself if the kernel keeps that (from 6.2 on, for whoever asked), else what
 * it has. */
static __always_inline __u32 came_with_number(struct task_struct *task) {
  __u32 zero = 0;
  struct came_with_key *mask = bpf_map_lookup_elem(&came_with_scratch, &zero);
  if (!mask) return CAME_WITH_UNKNOWN;
  const void *from = &task->cpus_mask;
  if (bpf_core_field_exists(task->user_cpus_ptr)) {
    const void *asked = task->user_cpus_ptr;
    if (asked) from = asked;
  }
  for (__u32 i = 0; i < PLACE_MAX_WORDS; i++) {
    if (i >= place_words) break;
    if (bpf_probe_read_kernel(&mask->words[i], sizeof(__u64), from + i * sizeof(__u64)))
      return CAME_WITH_UNKNOWN;
  }
  __u32 *known = bpf_map_lookup_elem(&came_with_numbers, mask);
  if (known) return *known;
  __u32 number = came_with.next;
  if (number >= came_with.end || number >= CAME_WITH_MASKS) return CAME_WITH_UNKNOWN;
  for (__u32 i = 0; i < PLACE_MAX_WORDS; i++) {
    if (i >= place_words) break;
    __u32 at = number * place_words + i;
    __u64 *word = bpf_map_lookup_elem(&came_with_masks, &at);
    if (!word) return CAME_WITH_UNKNOWN;
    *word = mask->words[i];
  }
  if (bpf_map_update_elem(&came_with_numbers, mask, &number, BPF_ANY)) return CAME_WITH_UNKNOWN;
  came_with.next = number + 1;
  return number;
}

/* `moves` is raised first: a fork whose gate found no number looks again at newtask. */
static __always_inline bool cpuset_remember(struct task_struct *task, struct ctn_task *record,
                                            __u32 *moves) {
  if (record->came_with || task->flags & (PF_NO_SETAFFINITY | PF_EXITING)) return false;
  if (!cpuset_confines(task_slot(record, CTN_CPUSET))) return false;
  __u32 number = came_with_number(task);
  add_in_order(moves, 1);
  record->came_with = number;
  return true;
}

static __always_inline bool cpuset_forget(__u32 tid, struct ctn_task *record) {
  if (!record->came_with || !bpf_map_lookup_elem(&came_with_done, &tid)) return false;
  if (cpuset_confines(task_slot(record, CTN_CPUSET))) return false;
  record->came_with = 0;
  return true;
}

/* A child has its forker's mask, and group, of the moment the fork began. If the set was changed, or the
 * forker attached, after that, nobody who places tasks may have seen the child yet. `before` is the
 * container it was to be in when the fork began. With `into` the forker asked for another control group for it
 * (clone3), which takes it out of ours where no hook refuses that. */
static __always_inline void cpuset_born(struct task_struct *child, struct ctn_task *record,
                                        __u32 before, bool into) {
  __u32 slot = task_slot(record, CTN_CPUSET);
  if (into && in_any_group(bpf_get_current_task_btf()) &&
      (cpuset_confines(slot) || memset_confines(task_slot(record, CTN_MEMSET))))
    return cpuset_strayed(slot);
  bool moved = before != slot && (cpuset_confines(before) || cpuset_confines(slot));
  if (!moved &&
      (slot < CTN_MAX_HIER || !cpuset_outside(slot, &child->cpus_mask) || cpuset_in_group(child)))
    return;
  cpuset_strayed(slot);
}

/* A process, or a thread of one, has come to another control group. */
static __always_inline void cpuset_moved(struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (!record || is_placing()) return;
  __u32 slot = task_slot(record, CTN_CPUSET), nodes = task_slot(record, CTN_MEMSET);
  bool memory = memset_confines(nodes);
  if (!cpuset_confines(slot) && !memory) return;
  /* In one of ours it is not where it belongs, or it would not have been moved. Elsewhere its mask tells;
   * its nodes are those of the group it is in, unless that is ours. */
  if (in_any_group(task) || (memory && by_groups(place_root(memset, CTN_MEMSET))) ||
      (slot >= CTN_MAX_HIER && cpuset_outside(slot, &task->cpus_mask)))
    cpuset_strayed(slot < CTN_MAX_HIER ? nodes : slot);
}

#endif
