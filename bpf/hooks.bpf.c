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
  if (gate_can_skip) forget(child);
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
  /* Who is being killed forks no more: then each pass of `kill` leaves fewer. */
  int err = inherit(record, mine) & CTN_KILLING ? -EAGAIN : subsystems_fork(record);
  /* After a refusal the LSM framework frees the child, the trampoline does not: leave nothing. */
  if (err) forget(child);
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

/* Forks of the whole machine while `attach --tree` gathers descendants. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 512 * 1024);
} forks SEC(".maps");

static __noinline int tell_fork(struct task_struct *child) {
  struct ctn_fork out = {.parent = bpf_get_current_pid_tgid() >> 32, .child = child->tgid};
  if (out.parent == out.child) return 0; /* a thread */
  __sync_fetch_and_add(&core.forks_told, 1);
  if (bpf_ringbuf_output(&forks, &out, sizeof(out), 0)) __sync_fetch_and_add(&core.forks_untold, 1);
  return 0;
}

/* The child may not be where its forker is: see t_newtask. Out of line, as it seldom is. */
static __noinline int put_right(struct task_struct *child, struct ctn_task *mine) {
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
    if (inherit(record, mine) & CTN_KILLING) bpf_send_signal(9 /* SIGKILL */);
    subsystems_adopt(record);
    if (core.level[CTN_HOOKS_TASK] == CTN_LEVEL_FALLBACK) count_miss(CTN_MISS_BACKSTOP_FORK);
  } else {
    before = task_slot(record, CTN_CPUSET);
    follow(child, record, mine);
  }
  cpuset_born(child, record, before);
  return 0;
}

/* The child is in the task list and cannot run yet. It has to be where its forker is now:
 *  - no record although the forker has one: the gate was skipped, or the forker was moved out of
 *    the roots during the fork. The child gets a record, charged by force.
 *  - another slot than the forker's: the forker was moved during the fork. The child follows.
 * Nobody was moved or placed since the gate looked: neither can be.
 * Attached at every level and for good: turning a tracepoint on and off for each attach would patch
 * the kernel's text under running forks, and wait for that, each time. */
SEC("tp_btf/task_newtask")
int BPF_PROG(t_newtask, struct task_struct *child, unsigned long clone_flags) {
  if (core.tree_watch) tell_fork(child);
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  if (!gate_can_skip && (!mine || mine->moves_seen == *(volatile __u32 *)&moves)) return 0;
  return put_right(child, mine);
}

/* --- CPU masks ---------------------------------------------------------------------------------- */

SEC("fentry/sched_setaffinity")
int BPF_PROG(f_affinity, int pid, const struct cpumask *mask) {
  cpuset_note_mask(mask);
  return 0;
}

SEC("lsm/task_setscheduler")
int BPF_PROG(l_setscheduler, struct task_struct *task, int ret) {
  return ret ? ret : cpuset_setscheduler(task);
}

SEC("fmod_ret/security_task_setscheduler")
int BPF_PROG(f_setscheduler, struct task_struct *task, int ret) {
  return ret ? ret : cpuset_setscheduler(task);
}

/* With interrupts off, by the CPU that switches: nothing can come between, and no run is skipped. */
SEC("tp_btf/sched_switch")
int BPF_PROG(t_switch, bool preempt, struct task_struct *prev) {
  __u64 home = task_home(prev);
  struct ctn_key *key = task_key(home);
  return key_is_home(key) ? cpuacct_switch(prev, home, key) : 0;
}

/* Run by readers: arguments are the CPU to look at and the difference of the clocks, or 0. */
SEC("raw_tp")
int s_look(struct bpf_raw_tracepoint_args *ctx) {
  return cpuacct_look_at(ctx->args[0], ctx->args[1]);
}

/* Run by the control plane, which took a child of the container args[0] away. */
SEC("raw_tp")
int s_emptied(struct bpf_raw_tracepoint_args *ctx) { return node_emptied(ctx->args[0]); }

/* Run by the control plane about the task_struct that was at args[0] and whose freeing it thinks was
 * missed (src/gone.cpp): 1 if it was. */
SEC("raw_tp")
int s_forget(struct bpf_raw_tracepoint_args *ctx) {
  const struct task_struct *task = (const struct task_struct *)ctx->args[0];
  struct ctn_task *record = task_find(task);
  if (!record || !is_gone(task, record)) return 0;
  forget(task);
  return 1;
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
  if (record) subsystems_release(record);
  return 0;
}

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

/* Level accounting: a grace period after the reaping, and not for failed forks, which at that level
 * have no record as there is no gate. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(t_task_free, struct task_struct *task) {
  on_task_free(task);
  return 0;
}

/* --- open files -------------------------------------------------------------------------------- */

static __always_inline int on_file_alloc(struct file *file) {
  struct task_struct *task = bpf_get_current_task_btf();
  __u64 home = task_home(task);
  struct ctn_key *key = task_key(home);
  return key_is_home(key) ? numfiles_alloc(file, task, home, key) : 0;
}

SEC("lsm/file_alloc_security")
int BPF_PROG(l_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

/* Kernels from 6.19 on refuse the LSM program: a gate that may be skipped under preempt=full. */
SEC("fmod_ret/security_file_alloc")
int BPF_PROG(f_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

static __always_inline void on_file_free(struct file *file) {
  __u64 home = numfiles_home(file);
  struct ctn_key *key = numfiles_key(home);
  if (key_is_home(key)) numfiles_free(file, home, key);
}

SEC("lsm/file_free_security")
int BPF_PROG(l_file_free, struct file *file) {
  on_file_free(file);
  return 0;
}

SEC("fentry/security_file_free")
int BPF_PROG(f_file_free, struct file *file) {
  on_file_free(file);
  return 0;
}

/* A file that the kernel opens below another one (overlayfs does), which is charged already. The gate
 * can see no difference, so it is told before; and told otherwise after, should the kernel have
 * failed before the gate. */
static __always_inline int inner_file(__u32 next) {
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  if (mine) mine->inner_file = next;
  return 0;
}

#define INNER_FILE(name, function)                  \
  SEC("fentry/" function)                           \
  int f_##name(void *ctx) { return inner_file(1); } \
  SEC("fexit/" function)                            \
  int x_##name(void *ctx) { return inner_file(0); }

INNER_FILE(file_noacct, "alloc_empty_file_noaccount") /* until 6.5 */
INNER_FILE(file_backing, "alloc_empty_backing_file")  /* since 6.5 */
