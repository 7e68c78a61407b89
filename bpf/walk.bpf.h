/* Iterators over tasks: one prints membership, one moves tasks. Run by the control plane. */
#ifndef CTNBPF_BPF_WALK_BPF_H
#define CTNBPF_BPF_WALK_BPF_H

#include "membership.bpf.h"
#include "numbers.bpf.h"

SEC("iter/task")
int i_walk(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  if (!task) return 0;
  struct reader reader = current_reader();
  struct ctn_walk_task out = {
      .start_ns = task->start_boottime,
      .global_tid = task->pid,
      .global_tgid = task->tgid,
      .global_ppid = task->real_parent->tgid,
      .tid = task_number(&reader, task),
      .tgid = process_number(&reader, task),
      .uid = task->real_cred->uid.val,
      .exit_state = task->exit_state,
      .state = task->__state,
      .kernel_thread = (task->flags & PF_KTHREAD ? CTN_KTHREAD : 0) |
                       (task->flags & PF_NO_SETAFFINITY ? CTN_KTHREAD_BOUND : 0),
  };
  bpf_probe_read_kernel(out.comm, sizeof(out.comm), task->comm);
  struct ctn_task *record = task_find(task);
  if (record) {
    out.contained = 1;
    out.counted = record->counted;
    out.came_with = record->came_with;
    for (int h = 0; h < CTN_MAX_HIER; h++) out.slot[h] = record->slot[h];
  }
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}

/* Leaves the mark of this walk in the record of each task there is. */
SEC("iter/task")
int i_mark(struct bpf_iter__task *ctx) {
  struct ctn_task *record = ctx->task ? task_find(ctx->task) : NULL;
  if (record) record->seen = core.walk_mark;
  return 0;
}

/* When the output buffer is full the kernel shows the same task once more: the second time it is
 * CTN_MOVE_SAME, so the reader counts what it asked for, not what is reported as moved. */
SEC("iter/task")
int i_move(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  if (!task) return 0;
  struct reader reader = current_reader();
  __u32 process = process_number(&reader, task);
  if (move_request.tgid && move_request.tgid != process) return 0;
  if (move_request.chosen) {
    __u32 tgid = task->tgid;
    if (!bpf_map_lookup_elem(&move_pids, &tgid)) return 0;
  }
  struct ctn_move_report out = {
      .tid = task_number(&reader, task), .tgid = process, .global_tid = task->pid};
  out.result = move(task, move_request.hierarchy, move_request.slot, &out.from);
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}

/* Run by the control plane about the task_struct at args[0], which had a record: 1 if the task is there and the
 * pid namespace of whoever runs this does not know it. */
SEC("raw_tp")
int s_unseen(struct bpf_raw_tracepoint_args *ctx) {
  const struct task_struct *task = (const struct task_struct *)ctx->args[0];
  struct reader reader = current_reader();
  if (!task_find(task)) return 0;
  /* It may be freed at any moment, so it is read as data. One that is being forked has its forker's. */
  const struct pid *pid = BPF_CORE_READ(task, thread_pid);
  return pid && !number_of(&reader, pid);
}

#endif
