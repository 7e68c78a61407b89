/* Iterators over tasks: one prints membership, one moves tasks. Run by the control plane. */
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
    out.numtasks = record->numtasks & ~NUMTASKS_SHARED;
    out.came_with = record->came_with;
    for (int h = 0; h < CTN_MAX_HIER; h++) out.slot[h] = record->slot[h];
  }
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
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

/* Every descriptor of every process whose file is charged. */
SEC("iter/task_file")
int i_files(struct bpf_iter__task_file *ctx) {
  struct task_struct *task = ctx->task;
  struct file *file = ctx->file;
  if (!task || !file) return 0;
  __u64 place = table_find(file_keys, &file_places, file);
  if (place == NO_PLACE) return 0;
  struct ctn_file *record = section_at(file_records, place);
  struct reader reader = current_reader();
  struct ctn_walk_file out = {.tgid = process_number(&reader, task),
                              .tid = task_number(&reader, task),
                              .fd = ctx->fd,
                              .slot = record->slot,
                              .file = place,
                              .record = (__u32)place};
  bpf_probe_read_kernel(out.comm, sizeof(out.comm), task->comm);
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}

/* Every descriptor of a member whose file is not charged. Its number is mixed, so that no address of the kernel
 * is printed. */
SEC("iter/task_file")
int i_uncharged(struct bpf_iter__task_file *ctx) {
  struct task_struct *task = ctx->task;
  struct file *file = ctx->file;
  if (!task || !file) return 0;
  struct ctn_task *record = task_find(task);
  __u32 slot = record ? task_slot(record, CTN_NUMFILES) : 0;
  if (slot < CTN_MAX_HIER || table_find(file_keys, &file_places, file) != NO_PLACE) return 0;
  struct reader reader = current_reader();
  struct ctn_walk_file out = {.tgid = process_number(&reader, task),
                              .tid = task_number(&reader, task),
                              .fd = ctx->fd,
                              .slot = slot,
                              .file = object_hash(file),
                              .is_path = file->f_mode & FMODE_PATH ? 1 : 0};
  bpf_probe_read_kernel(out.comm, sizeof(out.comm), task->comm);
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}
