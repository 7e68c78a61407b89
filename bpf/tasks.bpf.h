/* The task table: from a task_struct's address to its record (bpf/table.bpf.h).
 *
 * Why not task storage or a hash map: an uncontained task must cost next to nothing on every fork
 * and exit, a contained one must not depend on an allocation that can fail, and no path may find a
 * bucket lock busy. docs/design.md has the comparison. */
#ifndef CTNBPF_BPF_TASKS_BPF_H
#define CTNBPF_BPF_TASKS_BPF_H

#include "table.bpf.h"

CTN_TABLE(task, struct ctn_task);

static __always_inline struct ctn_task *task_record(__u32 number) {
  return bpf_map_lookup_elem(&task_records, &number);
}

/* The record of a task, or NULL if it is in every root. The caller is the task itself, or holds it
 * alive: a record goes only when its task_struct is freed. */
static __always_inline struct ctn_task *task_find(const struct task_struct *task) {
  struct table_place at = table_find(&task_buckets, task_bucket_bits, task);
  return at.record == NO_RECORD ? NULL : task_record(at.record);
}

/* The same in two steps, for programs that are run for every open file: the second is taken out of
 * line, and only if the first, short one finds a bucket (table_home). */
static __always_inline struct ctn_bucket *task_home(const struct task_struct *task) {
  return table_home(&task_buckets, task_bucket_bits, task);
}
static __always_inline struct ctn_task *task_find_in(const struct task_struct *task,
                                                     struct ctn_bucket *home) {
  struct table_place at = table_find_in(&task_buckets, task_bucket_bits, task, home);
  return at.record == NO_RECORD ? NULL : task_record(at.record);
}

/* Makes a record; NULL when both buckets are full. At any time only one program inserts a given
 * task: the fork gate before the child is visible, newtask before it can run, or the mover, which
 * leaves alone what is still TASK_NEW. */
static __always_inline struct ctn_task *task_insert(const struct task_struct *task) {
  __u32 record = table_insert(&task_buckets, task_bucket_bits, task);
  return record == NO_RECORD ? NULL : task_record(record);
}

/* Slot of a task in the hierarchy a subsystem is bound to; 0 while it is unbound. */
static __always_inline __u32 task_slot(const struct ctn_task *task, __u32 subsystem) {
  __u32 hierarchy = core.bound[subsystem];
  if (!hierarchy) return 0;
  return *(const volatile __u32 *)&task->slot[(hierarchy - 1) & (CTN_MAX_HIER - 1)] & ~CTN_EXITED;
}

#endif
