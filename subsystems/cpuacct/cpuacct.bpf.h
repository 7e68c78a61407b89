/* cpuacct, kernel side: charges what a task ran when it stops running.
 *
 * No clock is read. The scheduler keeps in each task how long it ever ran (se.sum_exec_runtime),
 * brought up to date before the tracepoint of a switch; a task's record holds how much of that has
 * been charged, so a charge is the difference, in the kernel's own figures. Nothing is to be done
 * when a task begins to run, a child begins at 0 as its record does, and what one charge leaves out
 * the next one has. The same holds for the time a task waited to run and for its time in the kernel.
 *
 * A cell belongs to its CPU: the program for switches runs there with interrupts off, so no line of
 * another CPU is written. Only the mover writes from elsewhere. It may settle a task that runs, or
 * stops running, on another CPU, so `charged` is exchanged and `usage` changed by an atomic: each
 * nanosecond goes to whoever exchanged it. The other words are the CPU's own. */
#ifndef CTNBPF_SUBSYSTEMS_CPUACCT_BPF_H
#define CTNBPF_SUBSYSTEMS_CPUACCT_BPF_H

#include "ctn.bpf.h"
#include "cpuacct/cpuacct.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* one per slot, set at load */
  __type(key, __u32);
  __type(value, struct cpuacct_state);
} cpuacct SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* one per slot and possible CPU, set at load */
  __type(key, __u32);
  __type(value, struct cpuacct_cell);
} cpuacct_cells SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* one per possible CPU, set at load */
  __type(key, __u32);
  __type(value, struct cpuacct_look);
} cpuacct_cpus SEC(".maps");

/* The smallest `clock` of all looks: the later a look comes after the clocks it compares were read,
 * the larger its difference. */
__s64 cpuacct_clock SEC(".data.cpuclock") = 0;

/* What all tasks used, by CPU: the kernel's own cpuacct keeps it, mounted or not. By name alone, not
 * by type: a kernel may have the type and not the name (no CONFIG_KALLSYMS_ALL), and refuses then. */
extern const void root_cpuacct_cpuusage __ksym __weak;
extern const void __per_cpu_offset __ksym __weak;

static __always_inline struct cpuacct_cell *cpuacct_cell_of(__u32 slot, __u32 cpu) {
  __u32 index = slot * cpu_count + cpu;
  return bpf_map_lookup_elem(&cpuacct_cells, &index);
}

/* In steps of 1024 ns, kept in 32 bits: a difference is right up to 73 minutes in one slice. */
static __always_inline __u32 cpuacct_short(__u64 ns) { return (__u32)(ns >> 10); }

static __always_inline void cpuacct_charge_short(__u32 *charged, __u64 total, __u64 *sum) {
  __u32 now = cpuacct_short(total);
  __u32 difference = now - *charged;
  if (!difference) return;
  *charged = now;
  *sum += (__u64)difference << 10;
}

/* log2 by halves. Who switches often has the shortest slices, and gets away first. */
static __always_inline __u32 cpuacct_bucket(__u64 ns) {
  __u32 bucket = 0;
  if (ns < 1 << CPUACCT_FIRST_BITS) return 0;
  ns >>= CPUACCT_FIRST_BITS - 1;
  if (ns >= 1 << (CPUACCT_BUCKETS - 1)) return CPUACCT_BUCKETS - 1;
  if (ns >= 1 << 4) ns >>= 4, bucket = 4;
  if (ns >= 1 << 2) ns >>= 2, bucket += 2;
  return bucket + (ns >= 2);
}

/* A task stops running; `home` is its home in the table of tasks, `key` the key there. Out of line, so that the
 * tasks in no container save no registers for it. */
static __noinline int cpuacct_switch(struct task_struct *task, __u64 home, struct ctn_key *key) {
  struct ctn_task *record = task_find_from(task, home, key);
  if (!record) return 0;
  __u32 slot = task_slot(record, CTN_CPUACCT);
  if (slot < CTN_MAX_HIER) return 0;
  struct cpuacct_cell *cell = cpuacct_cell_of(slot, task->thread_info.cpu);
  if (!cell) return 0;
  __u64 total = task->se.sum_exec_runtime;
  __u64 ran = total - __sync_lock_test_and_set(&record->charged, total);
  __u64 before = __sync_fetch_and_add(&cell->usage, ran);
  __u32 bucket = cpuacct_bucket(ran);
  if (bucket < CPUACCT_BUCKETS) cell->slices[bucket]++;
  if (bpf_core_field_exists(task->sched_info))
    cpuacct_charge_short(&record->waited, task->sched_info.run_delay, &cell->wait);
  else
    record->waited = 0; /* so that the verifier has a branch to drop, and the test with it */
  cpuacct_charge_short(&record->system, task->stime, &cell->system);
  cpuacct_charge_short(&record->user, task->utime, &cell->user);
  /* The scheduler brought this up to date just now: it is the time. */
  __u64 now = task->se.exec_start;
  if (now >= cell->window_end) cpuacct_turn_window(cell, now, ran, before);
  return 0;
}

/* --- the slice that runs now ------------------------------------------------------------------- */

/* The kernel brings sum_exec_runtime up to date at ticks and switches only. What a task ran since
 * then is the time of its CPU's task clock since se.exec_start; that clock is CLOCK_MONOTONIC less
 * `clock`, less what interrupts and the hypervisor took so far. 0 where it cannot be known. */
static __always_inline __u64 cpuacct_task_clock(const struct rq *rq, __s64 clock) {
  return bpf_ktime_get_ns() - clock - (rq->clock - rq->clock_task);
}

/* The run queue of the CPU a task is on, of whatever class it is; NULL if the kernel was built
 * without groups of tasks (CONFIG_FAIR_GROUP_SCHED). */
static __always_inline const struct rq *cpuacct_rq(struct task_struct *task) {
  if (!bpf_core_field_exists(task->se.cfs_rq) || !bpf_core_field_exists(struct cfs_rq, rq))
    return NULL;
  return task->se.cfs_rq->rq;
}

static __always_inline __u64 cpuacct_machine(__u32 cpu) {
  __u64 offset = 0, used = 0;
  if (!&root_cpuacct_cpuusage || !&__per_cpu_offset) return 0;
  bpf_probe_read_kernel(&offset, sizeof(offset), &__per_cpu_offset + cpu * sizeof(offset));
  bpf_probe_read_kernel(&used, sizeof(used), &root_cpuacct_cpuusage + offset);
  return used;
}

/* Up to now: se.sum_exec_runtime and what came after it. Another CPU may bring both words up to date
 * while we read: look again. */
static __always_inline __u64 cpuacct_ran(struct task_struct *task, __u64 now) {
  __u64 start = task->se.exec_start, sum = task->se.sum_exec_runtime;
  for (int i = 0; i < 4; i++) {
    __u64 again = *(volatile __u64 *)&task->se.exec_start;
    if (again == start) break;
    start = again;
    sum = *(volatile __u64 *)&task->se.sum_exec_runtime;
  }
  return now > start ? sum + (now - start) : sum;
}

/* The mover takes a task out of `from` (0: a root): charges there what it ran up to now. Before the
 * slot is exchanged, so that a switch meanwhile still charges `from`. A task without a container
 * of ours has old words in its record; they begin now. */
static __always_inline void cpuacct_leave(struct ctn_task *record, struct task_struct *task,
                                          __u32 from) {
  __u64 total = task->se.sum_exec_runtime;
  __u32 cpu = task->thread_info.cpu;
  const struct rq *rq = cpuacct_rq(task);
  if (task->on_cpu && cpuacct_clock && rq)
    total = cpuacct_ran(task, cpuacct_task_clock(rq, cpuacct_clock));
  __u64 ran = total - __sync_lock_test_and_set(&record->charged, total);
  if (from < CTN_MAX_HIER) {
    if (bpf_core_field_exists(task->sched_info))
      record->waited = cpuacct_short(task->sched_info.run_delay);
    record->system = cpuacct_short(task->stime);
    record->user = cpuacct_short(task->utime);
    return;
  }
  struct cpuacct_cell *cell = cpuacct_cell_of(from, cpu);
  if (cell) __sync_fetch_and_add(&cell->usage, ran);
}

/* What runs on the CPU `cpu`, which is this one unless that is offline. Run by readers on the CPU
 * they ask about: in an interrupt there, so no switch comes between the words that are read here.
 * Returns 0, or 1 if another reader's look is under way. */
static __always_inline int cpuacct_look_at(__u32 cpu, __s64 clock) {
  struct cpuacct_look *look = bpf_map_lookup_elem(&cpuacct_cpus, &cpu);
  if (!look) return 0;
  if (__sync_lock_test_and_set(&look->busy, 1)) return 1;
  struct task_struct *task = bpf_get_current_task_btf();
  look->slot = look->timed = 0;
  look->running = look->running_system = look->running_user = look->now = 0;
  look->machine = cpuacct_machine(cpu);
  if (bpf_get_smp_processor_id() == cpu) {
    const struct rq *rq = cpuacct_rq(task);
    if (rq) {
      look->clock = bpf_ktime_get_ns() - rq->clock;
      look->now = cpuacct_task_clock(rq, clock ? clock : look->clock);
      look->timed = 1;
    }
    __u64 sum = task->se.sum_exec_runtime, ran = cpuacct_ran(task, look->now);
    if (task->pid && look->machine) look->machine += ran - sum;
    struct ctn_task *record = task_find(task);
    __u32 slot = record ? task_slot(record, CTN_CPUACCT) : 0;
    struct cpuacct_cell *cell = slot >= CTN_MAX_HIER ? cpuacct_cell_of(slot, cpu) : NULL;
    if (record && cell) {
      look->slot = slot;
      look->running = ran - record->charged;
      look->running_system = (__u64)(cpuacct_short(task->stime) - record->system) << 10;
      look->running_user = (__u64)(cpuacct_short(task->utime) - record->user) << 10;
      look->cell = *cell;
    }
  }
  __sync_fetch_and_add(&look->looks, 1);
  __sync_lock_test_and_set(&look->busy, 0);
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

#endif
