/* One program per kernel hook; each calls the core, then the subsystems in table order.
 *
 * A hook that comes in several variants (BPF LSM, BPF trampoline, tracepoint) has one inline body.
 * The control plane loads the variants this kernel really runs and attaches them while a bound
 * subsystem needs them (src/hooks.cpp has the table).
 *
 * Tasks outside all containers leave each program after one look-up that finds nothing. */
#include "membership.bpf.h"

/* Set at load where a hook of a task's life can be skipped (levels fallback and accounting): a
 * record may then outlive its task, and a new task_struct at the same address find it. */
const volatile bool gate_can_skip = true;

static __always_inline void forget_stale(const struct task_struct *child) {
  if (!gate_can_skip) return;
  struct ctn_task *stale = task_find(child);
  if (stale) forget(child, stale);
}

/* Fork gate: the child is not visible to anyone yet and still has its parent's pid. A child of a
 * contained task that cannot be recorded is refused: better no child than one outside. */
static __always_inline int on_task_alloc(struct task_struct *child) {
  forget_stale(child);
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  if (!mine) return 0;
  struct ctn_task *record = task_insert(child);
  if (!record) {
    count_miss(CTN_MISS_TASK_TABLE_FULL);
    return -EAGAIN;
  }
  inherit(record, mine);
  int err = numtasks_fork(record);
  /* After a refusal the LSM framework frees the child, the trampoline does not: leave nothing. */
  if (err) forget(child, record);
  return err;
}

SEC("lsm/task_alloc")
int BPF_PROG(l_task_alloc, struct task_struct *child, unsigned long clone_flags, int ret) {
  return ret ? ret : on_task_alloc(child);
}

/* Fallback: may be skipped under preempt=full; then t_newtask puts the child right. */
SEC("fmod_ret/security_task_alloc")
int BPF_PROG(f_task_alloc, struct task_struct *child, unsigned long clone_flags, int ret) {
  return ret ? ret : on_task_alloc(child);
}

/* The child is in the task list and cannot run yet. It has to be where its forker is now:
 *  - no record although the forker has one: the gate was skipped, or the forker was moved out of
 *    the roots during the fork. The child gets a record, charged by force.
 *  - another slot than the forker's: the forker was moved during the fork. The attach in progress
 *    is told to look again and moves the child too.
 * Attached at every level and for good: turning a tracepoint on and off for each attach would patch
 * the kernel's text under running forks, and wait for that, each time. */
SEC("tp_btf/task_newtask")
int BPF_PROG(t_newtask, struct task_struct *child, unsigned long clone_flags) {
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  /* Without a forker's record, or without a gate, a record of the child is not the child's. */
  if (!mine || core.fork_level == CTN_LEVEL_ACCOUNTING) forget_stale(child);
  if (!mine) return 0;
  struct ctn_task *record = task_find(child);
  if (!record) {
    record = task_insert(child);
    if (!record) {
      count_miss(CTN_MISS_TASK_TABLE_FULL);
      return 0;
    }
    inherit(record, mine);
    numtasks_adopt(record);
    if (core.fork_level == CTN_LEVEL_FALLBACK) count_miss(CTN_MISS_BACKSTOP_FORK);
    return 0;
  }
  for (int h = 0; h < CTN_MAX_HIER; h++)
    if ((record->slot[h] ^ mine->slot[h]) & ~CTN_EXITED) {
      __sync_fetch_and_add(&core.fork_races, 1);
      break;
    }
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(t_exit, struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (record) leave(record);
  return 0;
}

/* Reaped: the pid is about to be free. Before waitpid returns to the parent, so a parent at its
 * limit that reaps one child can fork the next. */
SEC("fentry/release_task")
int BPF_PROG(f_release, struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (record) numtasks_release(record);
  return 0;
}

/* The last sight of a task, of a failed fork too. */
static __always_inline void on_task_free(struct task_struct *task) {
  struct ctn_task *record = task_find(task);
  if (record) forget(task, record);
}

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

/* Level accounting: a grace period after the reaping, and not for failed forks, which at that level
 * have no record as there is no gate. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(t_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}
