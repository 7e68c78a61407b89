/* The task table: from a task_struct's address to its record (bpf/table.bpf.h).
 *
 * Why not task storage or a hash map: an uncontained task must cost next to nothing on every fork
 * and exit, a contained one must not depend on an allocation that can fail, and no path may find a
 * bucket lock busy. docs/design/membership.md has the comparison. */
#ifndef CTNBPF_BPF_TASKS_BPF_H
#define CTNBPF_BPF_TASKS_BPF_H

#include "table.bpf.h"

CTN_TABLE(task, struct ctn_task);

static __always_inline struct ctn_task *task_record(__u64 place) {
  return place == NO_PLACE ? NULL : section_at(task_records, place);
}

/* The record of a task, or NULL if it is in every root. The caller is the task itself, or holds it
 * alive: a record goes only when its task_struct is freed. */
static __always_inline struct ctn_task *task_find(const struct task_struct *task) {
  return task_record(table_find(task_keys, &task_places, task));
}

/* The same in steps, for programs that are run for every open file and every switch: the last is taken out
 * of line, and only if the key at the task's home says that the task can be in the table. */
static __always_inline __u64 task_home(const struct task_struct *task) {
  return table_home(&task_places, task);
}
static __always_inline struct ctn_key *task_key(__u64 place) {
  return section_at(task_keys, place);
}
static __always_inline __u64 task_place_from(const struct task_struct *task, __u64 home,
                                             const struct ctn_key *key) {
  return table_find_from(task_keys, &task_places, task, home, key);
}
static __always_inline struct ctn_task *task_find_from(const struct task_struct *task, __u64 home,
                                                       const struct ctn_key *key) {
  return task_record(task_place_from(task, home, key));
}

/* Makes a record; NULL when the table is full. At any time only one program inserts a given
 * task: the fork gate before the child is visible, newtask before it can run, or the mover, which
 * leaves alone what is still TASK_NEW. */
static __always_inline struct ctn_task *task_insert(const struct task_struct *task) {
  return task_record(table_insert(task_keys, &task_places, task));
}

/* The word of a task for the hierarchy a subsystem is bound to; NULL while it is unbound. */
static __always_inline const volatile __u32 *task_word(const struct ctn_task *task,
                                                       __u32 subsystem) {
  __u32 hierarchy = core.bound[subsystem];
  return hierarchy ? &task->slot[(hierarchy - 1) & (CTN_MAX_HIER - 1)] : NULL;
}

/* Slot of a task there; 0 while it is unbound. */
static __always_inline __u32 task_slot(const struct ctn_task *task, __u32 subsystem) {
  const volatile __u32 *word = task_word(task, subsystem);
  return word ? *word & ~CTN_EXITED : 0;
}

/* How often a task was about to be moved. A record's `moves_seen` is what it was when the task forked
 * last (see t_newtask). */
__u32 moves SEC(".data.moves") = 0;

#endif
