/* The programs of what places tasks (placement/placement_hooks.h): their bodies are in cpuset.bpf.h. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_PROGRAMS_BPF_H
#define CTNBPF_SUBSYSTEMS_CPUSET_PROGRAMS_BPF_H

#include "cpuset/cpuset.bpf.h"
#include "numbers.bpf.h"

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

/* From 6.2 on the kernel keeps the mask that a task has chosen, whatever cpuset it comes to. */
struct affinity_context___since_6_2 {
  unsigned int flags;
} __attribute__((preserve_access_index));

/* Tasks that have less than all CPUs and get all again when the cpuset controller is switched on, or off, for
 * the groups at the top of cgroup v2: the kernel then gives every task below those the mask of its new
 * cpuset. Those in the root group itself keep their cpuset. */
SEC("iter/task")
int i_own_masks(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  if (!task || task->exit_state || task->nr_cpus_allowed >= (int)cpu_count) return 0;
  if (!BPF_CORE_READ(task, cgroups, dfl_cgrp, self.parent)) return 0;
  if (bpf_core_type_exists(struct affinity_context___since_6_2) && task->user_cpus_ptr) return 0;
  struct reader reader = current_reader();
  struct place_own_mask out = {.tid = task_number(&reader, task)};
  bpf_probe_read_kernel(out.comm, sizeof(out.comm), task->comm);
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}

/* Prints who is setting a CPU mask that was checked before `affinity_turn` was raised last. */
SEC("iter/task")
int i_setting(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  if (!task || !cpuset_is_setting(task)) return 0;
  struct reader reader = current_reader();
  __u32 tid = task_number(&reader, task);
  bpf_seq_write(ctx->meta->seq, &tid, sizeof(tid));
  return 0;
}

/* Earlier CPU masks: see cpuset.bpf.h. Prints the tasks whose mask it remembered or forgot. */
SEC("iter/task")
int i_came_with(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  struct ctn_task *record = task ? task_find(task) : NULL;
  if (!record) return 0;
  struct reader reader = current_reader();
  __u32 tid = task_number(&reader, task);
  if (came_with.request == CAME_WITH_REMEMBER ? cpuset_remember(task, record, &moves)
                                              : cpuset_forget(tid, record))
    bpf_seq_write(ctx->meta->seq, &tid, sizeof(tid));
  return 0;
}

#endif
