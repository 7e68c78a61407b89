/* The hooks of a task's life, in order: each calls the core, then the subsystems in table order.
 *
 * A hook that comes in several variants (BPF LSM, BPF trampoline, tracepoint) has one inline body.
 * The control plane loads the variants this kernel really runs and attaches them while a bound
 * subsystem needs them (task_hooks.h has the table).
 *
 * Tasks outside all containers leave each program after one look-up that finds nothing. */
#ifndef CTNBPF_BPF_TASK_HOOKS_BPF_H
#define CTNBPF_BPF_TASK_HOOKS_BPF_H

#include "membership.bpf.h"

/* Set at load where a hook of a task's life can be skipped (levels fallback and accounting): a
 * record may then outlive its task, and a new task_struct at the same address find it. */
const volatile bool gate_can_skip = true;

static __always_inline void forget_stale(const struct task_struct *child) {
  if (gate_can_skip) forget(child);
}

/* Who is being killed forks no more: then each pass of `kill` leaves fewer. And who has more than its own part of
 * the table only as long as there is something to lend, or a limit says how much more it can be. */
static __noinline bool may_fork(const struct ctn_task *child, __u32 flags) {
  if (flags & CTN_KILLING) return false;
  return !lending_is_over(CTN_LEND_TASKS) || subsystems_may_borrow(child);
}

/* Fork gate: the child is not visible to anyone yet and still has its parent's pid. A child of a
 * contained task that cannot be recorded is refused: better no child than one outside. */
static __always_inline int on_task_alloc(struct task_struct *child) {
  forget_stale(child);
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  if (!mine) return 0;
  mine->moves_seen = *(volatile __u32 *)&moves; /* before we look where it is */
  struct ctn_task *record = task_insert(child);
  if (!record) {
    count_miss(CTN_MISS_TASK_TABLE_FULL);
    return -EAGAIN;
  }
  __u32 flags = inherit(record, mine);
  bool refused = flags & (CTN_KILLING | CTN_CROWDED) && !may_fork(record, flags);
  int err = refused ? -EAGAIN : subsystems_fork(record);
  /* After a refusal the LSM framework frees the child, the trampoline does not: leave nothing. */
  if (err) forget(child);
  return err;
}

SEC("lsm/task_alloc")
int BPF_PROG(l_task_alloc, struct task_struct *child, unsigned long clone_flags, int ret) {
  return ret ? ret : on_task_alloc(child);
}

/* Level fallback. */
SEC("fmod_ret/security_task_alloc")
int BPF_PROG(f_task_alloc, struct task_struct *child, unsigned long clone_flags, int ret) {
  return ret ? ret : on_task_alloc(child);
}

/* The same where that program can be skipped: a kprobe, which is not and comes before the programs of a
 * function's trampoline, makes the record; three programs refuse a child that got none. They are as short
 * as can be, since a task that is preempted inside of one has it skipped for others on that CPU: for a fork
 * to pass, there must be one in each of the three. Then newtask puts the child right. */
SEC("kprobe/security_task_alloc")
int BPF_KPROBE(k_task_alloc, struct task_struct *child) {
  on_task_alloc(child);
  return 0;
}

static __always_inline int fork_refused(const struct task_struct *child) {
  return task_find(bpf_get_current_task_btf()) && !task_find(child) ? -EAGAIN : 0;
}

#define FORK_GATE(name)                                                               \
  SEC("fmod_ret/security_task_alloc")                                                 \
  int BPF_PROG(name, struct task_struct *child, unsigned long clone_flags, int ret) { \
    return ret ? ret : fork_refused(child);                                           \
  }

FORK_GATE(a_task_alloc)
FORK_GATE(b_task_alloc)
FORK_GATE(c_task_alloc)

/* Forks of the whole machine while `attach --tree` gathers descendants. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 512 * 1024);
} forks SEC(".maps");

/* Counted before the child's place is looked at, told after that: so who finds a forker in the target, and then
 * waits for all that was counted to be told, has heard of each of its children outside. A child of a process
 * that is to be moved is to be moved too. */
static __noinline int tell_fork(struct task_struct *child) {
  struct ctn_fork out = {.parent = bpf_get_current_pid_tgid() >> 32,
                         .child = BPF_CORE_READ(child, tgid)};
  struct ctn_task *record = task_find(child);
  __u32 slot = record ? record->slot[move_request.hierarchy & (CTN_MAX_HIER - 1)] : 0;
  if (slot == move_request.slot || (!slot && move_request.slot < CTN_MAX_HIER)) {
    /* Nobody takes it out again while the writer lock is held. */
    __sync_fetch_and_add(&core.forks_inside, 1);
    return 0;
  }
  __u8 yes = 1;
  if (bpf_map_lookup_elem(&move_pids, &out.parent))
    bpf_map_update_elem(&move_pids, &out.child, &yes,
                        BPF_ANY); /* fails: it is told of all the same */
  if (bpf_ringbuf_output(&forks, &out, sizeof(out), 0)) __sync_fetch_and_add(&core.forks_untold, 1);
  return 0;
}

/* The child may not be where its forker is: see t_newtask. Out of line, as it seldom is. */
static __noinline int put_right(struct task_struct *child, struct ctn_task *mine, bool into) {
  /* Without a forker's record, or without a gate, a record of the child is not the child's. */
  if (!mine || core.level[CTN_HOOKS_TASK] == CTN_LEVEL_ACCOUNTING) forget_stale(child);
  if (!mine) return 0;
  struct ctn_task *record = task_find(child);
  __u32 before = 0; /* where the gate had put it */
  if (!record) {
    record = task_insert(child);
    if (!record) {
      count_miss(CTN_MISS_TASK_TABLE_FULL);
      return 0;
    }
    /* No gate held this fork up: end the forker, which is to be killed anyway. */
    if (inherit_late(record, mine) & CTN_KILLING) bpf_send_signal(9 /* SIGKILL */);
    subsystems_adopt(record);
    if (core.level[CTN_HOOKS_TASK] == CTN_LEVEL_FALLBACK) count_miss(CTN_MISS_BACKSTOP_FORK);
  } else {
    before = subsystems_before(record);
    follow(child, record, mine);
  }
  if (!record->came_with) record->came_with = mine->came_with;
  subsystems_born(child, record, before, into);
  return 0;
}

/* Without `clone_flags` the child's groups are compared: it has another set of them than its forker only if one
 * was named, or either was moved just now. */
static __always_inline int on_newtask(struct task_struct *child, unsigned long clone_flags) {
  bool told = core.tree_watch && /* not of a thread */
              BPF_CORE_READ(child, tgid) != bpf_get_current_pid_tgid() >> 32;
  if (told) add_in_order(&core.forks_told, 1);
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  /* The child is in the task list before it is looked whether somebody moved meanwhile. */
  if (mine) full_barrier(&mine->moves_seen);
  bool into =
      mine && (clone_flags ? (clone_flags & CLONE_INTO_CGROUP) != 0
                           : BPF_CORE_READ(child, cgroups) != bpf_get_current_task_btf()->cgroups);
  if (gate_can_skip || (mine && (into || mine->moves_seen != *(volatile __u32 *)&moves)))
    put_right(child, mine, into);
  return told ? tell_fork(child) : 0;
}

/* The child is in the task list and cannot run yet. It has to be where its forker is now:
 *  - no record although the forker has one: the gate was skipped, or the forker was moved out of
 *    the roots during the fork. The child gets a record, charged by force.
 *  - another slot than the forker's: the forker was moved during the fork. The child follows.
 *  - in another control group than the forker's (CLONE_INTO_CGROUP).
 * Nobody was moved or placed since the gate looked, and no group was named: nothing of that can be.
 * Attached at every level and for good: turning a tracepoint on and off for each attach would patch
 * the kernel's text under running forks, and wait for that, each time. */
SEC("tp_btf/task_newtask")
int BPF_PROG(t_newtask, struct task_struct *child, unsigned long clone_flags) {
  return on_newtask(child, clone_flags);
}

/* The same a moment later, as the child is about to be woken. Where tasks are preempted in the kernel the
 * tracepoint's program can be skipped, a kprobe's cannot. */
SEC("kprobe/wake_up_new_task")
int BPF_KPROBE(k_newtask, struct task_struct *child) { return on_newtask(child, 0); }

static __always_inline int on_exit(struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (record) leave(record);
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(t_exit, struct task_struct *task) { return on_exit(task); }

/* The same by perf's side of the tracepoint, which runs with preemption off: never skipped. */
SEC("tp/sched/sched_process_exit")
int p_exit(void *ctx) { return on_exit(bpf_get_current_task_btf()); }

/* Reaped: the pid is about to be free. Before waitpid returns to the parent, so a parent at its
 * limit that reaps one child can fork the next. */
static __always_inline int on_release(const struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (record) subsystems_release(record);
  return 0;
}

SEC("fentry/release_task")
int BPF_PROG(f_release, struct task_struct *task) { return on_release(task); }

SEC("kprobe/release_task") /* never skipped */
int BPF_KPROBE(k_release, struct task_struct *task) { return on_release(task); }

/* The last sight of a task, of a failed fork too. */
static __always_inline void on_task_free(struct task_struct *task) { forget(task); }

SEC("lsm/task_free")
int BPF_PROG(l_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}

SEC("fentry/security_task_free")
int BPF_PROG(f_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}

/* Not skipped for a task that was preempted inside, only, as it may run in a softirq, on top of another
 * kprobe: then one of the others sees it. */
SEC("kprobe/security_task_free")
int BPF_KPROBE(k_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}

/* Level accounting: a grace period after the reaping, and not for failed forks, which at that level
 * have no record as there is no gate. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(t_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}

#endif
