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

/* Who is being killed forks no more: then each pass of `kill` leaves fewer. And who has more than its own part of
 * the table only as long as there is something to lend, or a limit says how much more it can be. */
static __noinline bool may_fork(const struct ctn_task *child, __u32 flags) {
  if (flags & CTN_KILLING) return false;
  if (!lending_is_over(CTN_LEND_TASKS)) return true;
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (numtasks_is_bounded(slot, core.lending[CTN_LEND_TASKS].bounded)) return true;
  count_miss(CTN_MISS_TASK_LENT);
  if (slot) event_refused(CTN_EVENT_FORK_REFUSED, slot, core.bound[CTN_NUMTASKS] - 1);
  return false;
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
    before = task_slot(record, CTN_CPUSET);
    follow(child, record, mine);
  }
  if (!record->came_with) record->came_with = mine->came_with; /* see cpuset_remember() */
  cpuset_born(child, record, before, into);
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

/* --- CPU masks ---------------------------------------------------------------------------------- */

SEC("fentry/sched_setaffinity")
int BPF_PROG(f_affinity, int pid, const struct cpumask *mask) {
  cpuset_note_mask(mask);
  return 0;
}

SEC("kprobe/sched_setaffinity") /* never skipped */
int BPF_KPROBE(k_affinity, int pid, const struct cpumask *mask) {
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

/* The same where that program can be skipped: a kprobe judges, the gates refuse, and what passed all of
 * them is seen at the function's return. */
SEC("kprobe/security_task_setscheduler")
int BPF_KPROBE(k_setscheduler, struct task_struct *task) {
  cpuset_judge(task);
  return 0;
}

#define MASK_GATE(name)                                   \
  SEC("fmod_ret/security_task_setscheduler")              \
  int BPF_PROG(name, struct task_struct *task, int ret) { \
    return ret ? ret : cpuset_was_refused(task);          \
  }

MASK_GATE(a_setscheduler)
MASK_GATE(b_setscheduler)
MASK_GATE(c_setscheduler)

SEC("kretprobe/sched_setaffinity")
int BPF_KRETPROBE(r_affinity, long err) {
  cpuset_was_set(err);
  return 0;
}

/* Somebody has moved a process, or a thread, to another control group. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(t_moved, struct cgroup *to, const char *path, struct task_struct *task) {
  cpuset_moved(task);
  return 0;
}

/* Run by the control plane around each such move of its own. */
SEC("raw_tp")
int s_placing(struct bpf_raw_tracepoint_args *ctx) {
  placing.pid = ctx->args[0] ? bpf_get_current_pid_tgid() >> 32 : 0;
  return 0;
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

/* --- open files -------------------------------------------------------------------------------- */

static __always_inline int on_file_alloc(struct file *file) {
  struct task_struct *task = bpf_get_current_task_btf();
  __u64 home = task_home(task);
  struct ctn_key *key = task_key(home);
  return key_is_home(key) ? numfiles_alloc(file, task, home, key) : 0;
}

SEC("lsm/file_alloc_security")
int BPF_PROG(l_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

/* Level fallback. */
SEC("fmod_ret/security_file_alloc")
int BPF_PROG(f_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

/* The same where that program can be skipped, as with forks. */
SEC("kprobe/security_file_alloc")
int BPF_KPROBE(k_file_alloc, struct file *file) {
  on_file_alloc(file);
  return 0;
}

static __always_inline int file_refused(const struct file *file) {
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  return mine && numfiles_was_refused(file, mine) ? -ENFILE : 0;
}

#define FILE_GATE(name)               \
  SEC("fmod_ret/security_file_alloc") \
  int BPF_PROG(name, struct file *file, int ret) { return ret ? ret : file_refused(file); }

FILE_GATE(a_file_alloc)
FILE_GATE(b_file_alloc)
FILE_GATE(c_file_alloc)

/* BODY(..., current task, its home in the table of tasks, the key there) if it can be in that table. */
#define BY_TASK(body, ...)                                                   \
  ({                                                                         \
    struct task_struct *task = bpf_get_current_task_btf();                   \
    __u64 home = task_home(task);                                            \
    struct ctn_key *key = task_key(home);                                    \
    key_is_home(key) ? body(__VA_ARGS__ __VA_OPT__(, ) task, home, key) : 0; \
  })

static __always_inline void free_file(const struct file *file) {
  __u64 home = numfiles_home(file);
  struct ctn_key *key = numfiles_key(home);
  if (key_is_home(key)) numfiles_free(file, home, key);
}

/* The file was not opened after all: nor is what its task may have been charged for it beforehand. Out of line,
 * so that the others save no registers for it. */
static __noinline int file_not_opened(void) { return BY_TASK(numfiles_unreserve); }

SEC("lsm/file_free_security")
int BPF_PROG(l_file_free, struct file *file) {
  free_file(file);
  return 0;
}

/* The same with the open gate. */
SEC("lsm/file_free_security")
int BPF_PROG(l_file_gone, struct file *file) {
  if (!(file->f_mode & FMODE_OPENED)) return file_not_opened();
  free_file(file);
  return 0;
}

SEC("fentry/security_file_free")
int BPF_PROG(f_file_free, struct file *file) {
  free_file(file);
  return 0;
}

SEC("kprobe/security_file_free") /* never skipped */
int BPF_KPROBE(k_file_free, struct file *file) {
  free_file(file);
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

/* By kprobes where tasks are preempted in the kernel: a tracing program that is skipped before would have
 * the inner file charged too, one that is skipped after leave the task's next file uncharged. */
#define INNER_FILE(name, function)                  \
  SEC("fentry/" function)                           \
  int f_##name(void *ctx) { return inner_file(1); } \
  SEC("fexit/" function)                            \
  int x_##name(void *ctx) { return inner_file(0); } \
  SEC("kprobe/" function)                           \
  int k_##name(void *ctx) { return inner_file(1); } \
  SEC("kretprobe/" function)                        \
  int r_##name(void *ctx) { return inner_file(0); }

INNER_FILE(file_noacct, "alloc_empty_file_noaccount") /* until 6.5 */
INNER_FILE(file_backing, "alloc_empty_backing_file")  /* since 6.5 */

/* Where the allocation of files is closed to LSM programs: see numfiles_gate.bpf.h. */
SEC("lsm/file_open")
int BPF_PROG(l_file_open, struct file *file, int ret) {
  return ret ? ret : BY_TASK(numfiles_open, file);
}

/* Also asked where O_CREAT may not make anything, as the file is found to be there. */
SEC("lsm/inode_create")
int BPF_PROG(l_inode_create, struct inode *dir, struct dentry *dentry, int mode, int ret) {
  return ret ? ret : BY_TASK(numfiles_reserve);
}

SEC("lsm/perf_event_open")
int BPF_PROG(l_perf_open, int type, int ret) { return ret ? ret : BY_TASK(numfiles_reserve); }

SEC("lsm/inode_alloc_security")
int BPF_PROG(l_inode_alloc, struct inode *inode, int ret) {
  return ret ? ret : BY_TASK(numfiles_inode, inode);
}

SEC("lsm/inode_free_security")
int BPF_PROG(l_inode_free, struct inode *inode) {
  __u64 home = numfiles_home(inode);
  struct ctn_key *key = numfiles_key(home);
  if (key_is_home(key)) numfiles_free(inode, home, key);
  return 0;
}

SEC("lsm/socket_create")
int BPF_PROG(l_sock_create, int family, int type, int protocol, int kern, int ret) {
  struct ctn_task *task = task_find(bpf_get_current_task_btf());
  return ret || !task ? ret : numfiles_socket(task, kern);
}

SEC("kprobe/file_init_path")
int BPF_KPROBE(k_file_init, const struct file *file, const struct path *path) {
  return BY_TASK(numfiles_made, file, path);
}

/* Level fallback: what its gate let pass, as it was skipped, is charged all the same. */
SEC("kprobe/do_dentry_open")
int BPF_KPROBE(k_dentry_open, const struct file *file) { return BY_TASK(numfiles_passed, file); }

/* The system calls of CTN_SPECIAL_FILES. A kprobe, which is not skipped and comes before the programs of a
 * function's trampoline, charges for the file that is to come; three programs refuse the call if that could
 * not be: as short as can be, since a task that is preempted inside of one has it skipped for others. At the
 * end of the call a charge that found no file goes. */
static __always_inline long special_refused(void) {
  struct task_struct *task = bpf_get_current_task_btf();
  __u64 place = table_find(task_keys, &task_places, task);
  return place != NO_PLACE && !numfiles_may_make(place) ? -ENFILE : 0; /* the result has 64 bits */
}

/* The registers the system call was made with are its function's argument. */
static __always_inline bool has_descriptor(const struct pt_regs *regs) {
  return (int)PT_REGS_PARM1_CORE(regs) != -1;
}

SEC("kprobe/" CTN_SYSCALL(eventfd2)) /* and others */
int k_special(void *ctx) { return BY_TASK(numfiles_reserve); }

SEC("kprobe/" CTN_SYSCALL(signalfd4)) /* with a descriptor signalfd changes that one */
int BPF_KPROBE(k_sigfd, const struct pt_regs *regs) {
  return has_descriptor(regs) ? 0 : BY_TASK(numfiles_reserve);
}

SEC("kretprobe/" CTN_SYSCALL(eventfd2)) /* and others */
int r_special(void *ctx) { return BY_TASK(numfiles_unreserve); }

#define SPECIAL_GATE(name, call)                                            \
  SEC("fmod_ret/" CTN_SYSCALL(call))                                        \
  long BPF_PROG(name, const struct pt_regs *regs, long ret) {               \
    return ret || CTN_HAS_DESCRIPTOR(call, regs) ? ret : special_refused(); \
  }
#define CTN_HAS_DESCRIPTOR(call, regs) (#call[0] == 's' && has_descriptor(regs)) /* signalfd */
#define SPECIAL_FILE(call, kprobe) \
  SPECIAL_GATE(a_##call, call)     \
  SPECIAL_GATE(b_##call, call)     \
  SPECIAL_GATE(c_##call, call)

CTN_SPECIAL_FILES(SPECIAL_FILE)
