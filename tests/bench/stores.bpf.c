/* What scripts/bench compares ctnbpf with, on the same hooks:
 *   empty_*    programs that do nothing: the floor
 *   table_* storage_* hash_* array_*    the ways to find the record of a task: our table
 *              (bpf/table.bpf.h), task local storage, a preallocated hash by address, an array by pid
 * hook_bench loads those of one name. Each store does what membership needs: the gate looks for the
 * forker's record and makes the child's, newtask looks at both, exit and release_task look, the freeing
 * hook drops it. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ctnbpf/abi.h"
#include "table.bpf.h"

#define MAX_TASKS 131072

/* This process counts as contained; 0: nobody does. */
__u32 member SEC(".data.member") = 0;

static __always_inline bool is_member(void) {
  return member && bpf_get_current_pid_tgid() >> 32 == member;
}

/* --- the floor --------------------------------------------------------------------------------- */

#define EMPTY(name, hook) \
  SEC(hook)               \
  int empty_##name(void *ctx) { return 0; }

EMPTY(fork_alloc, "lsm/task_alloc")
EMPTY(fork_newtask, "tp_btf/task_newtask")
EMPTY(fork_exit, "tp_btf/sched_process_exit")
EMPTY(fork_release, "fentry/release_task")
EMPTY(fork_free, "lsm/task_free")
EMPTY(switch_from, "tp_btf/sched_switch")
EMPTY(open_alloc, "lsm/file_alloc_security")
EMPTY(open_free, "lsm/file_free_security")
/* Where tasks are preempted in the kernel, and the allocation of files is closed to LSM programs. */
EMPTY(fork7_alloc, "lsm/task_alloc")
EMPTY(fork7_newtask, "kprobe/wake_up_new_task")
EMPTY(fork7_exit, "tp/sched/sched_process_exit")
EMPTY(fork7_release, "kprobe/release_task")
EMPTY(fork7_free, "lsm/task_free")
EMPTY(open7_open, "lsm/file_open")
EMPTY(open7_free, "lsm/file_free_security")

/* --- stores: find, add, drop ------------------------------------------------------------------- */

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct ctn_task);
} storage SEC(".maps");

static __always_inline struct ctn_task *storage_find(struct task_struct *task) {
  return bpf_task_storage_get(&storage, task, 0, 0);
}
static __always_inline void storage_add(struct task_struct *task) {
  bpf_task_storage_get(&storage, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}
static __always_inline void storage_drop(struct task_struct *task) {} /* goes with the task */

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, MAX_TASKS);
  __type(key, __u64);
  __type(value, struct ctn_task);
} hash SEC(".maps");

static const struct ctn_task zero;

static __always_inline struct ctn_task *hash_find(struct task_struct *task) {
  __u64 key = (__u64)task;
  return bpf_map_lookup_elem(&hash, &key);
}
static __always_inline void hash_add(struct task_struct *task) {
  __u64 key = (__u64)task;
  bpf_map_update_elem(&hash, &key, &zero, BPF_ANY);
}
static __always_inline void hash_drop(struct task_struct *task) {
  __u64 key = (__u64)task;
  bpf_map_delete_elem(&hash, &key);
}

/* The first word says if the pid's record is in use. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, MAX_TASKS);
  __type(key, __u32);
  __type(value, struct ctn_task);
} array SEC(".maps");

static __always_inline struct ctn_task *array_of(struct task_struct *task) {
  __u32 pid = task->pid;
  return bpf_map_lookup_elem(&array, &pid);
}
static __always_inline struct ctn_task *array_find(struct task_struct *task) {
  struct ctn_task *record = array_of(task);
  return record && record->slot[0] ? record : NULL;
}
static __always_inline void array_add(struct task_struct *task) {
  struct ctn_task *record = array_of(task);
  if (record) record->slot[0] = 1;
}
static __always_inline void array_drop(struct task_struct *task) {
  struct ctn_task *record = array_of(task);
  if (record) __builtin_memset(record, 0, sizeof(*record));
}

CTN_TABLE(task, struct ctn_task);

static __always_inline struct ctn_task *table_find_task(struct task_struct *task) {
  __u64 place = table_find(task_keys, &task_places, task);
  return place == NO_PLACE ? NULL : section_at(task_records, place);
}
static __always_inline void table_add(struct task_struct *task) {
  table_insert(task_keys, &task_places, task);
}
static __always_inline void table_drop(struct task_struct *task) {
  __u64 home = table_home(&task_places, task), place = table_find(task_keys, &task_places, task);
  if (place == NO_PLACE) return;
  __builtin_memset(section_at(task_records, place), 0, sizeof(struct ctn_task));
  key_remove(section_at(task_keys, place), section_at(task_keys, home), place != home);
}

/* --- the hooks --------------------------------------------------------------------------------- */

/* `at_gate`: the child is entered at the fork gate, else at newtask. */
#define STORE(name, find, at_gate)                                                \
  SEC("lsm/task_alloc")                                                           \
  int BPF_PROG(name##_alloc, struct task_struct *child, unsigned long f, int r) { \
    struct task_struct *forker = bpf_get_current_task_btf();                      \
    if (!find(forker)) {                                                          \
      if (!is_member()) return r;                                                 \
      name##_add(forker);                                                         \
    }                                                                             \
    if (at_gate) name##_add(child);                                               \
    return r;                                                                     \
  }                                                                               \
  SEC("tp_btf/task_newtask")                                                      \
  int BPF_PROG(name##_newtask, struct task_struct *child) {                       \
    if (!find(bpf_get_current_task_btf())) return 0;                              \
    if (!at_gate) name##_add(child);                                              \
    struct ctn_task *record = find(child);                                        \
    if (record) record->slot[0] = 1;                                              \
    return 0;                                                                     \
  }                                                                               \
  SEC("tp_btf/sched_process_exit")                                                \
  int BPF_PROG(name##_exit, struct task_struct *task) {                           \
    struct ctn_task *record = find(task);                                         \
    if (record) record->slot[0] |= CTN_EXITED;                                    \
    return 0;                                                                     \
  }                                                                               \
  SEC("fentry/release_task")                                                      \
  int BPF_PROG(name##_release, struct task_struct *task) {                        \
    struct ctn_task *record = find(task);                                         \
    if (record) record->counted = 0;                                              \
    return 0;                                                                     \
  }                                                                               \
  SEC("lsm/task_free")                                                            \
  int BPF_PROG(name##_free, struct task_struct *task) {                           \
    if (find(task)) name##_drop(task);                                            \
    return 0;                                                                     \
  }

STORE(table, table_find_task, true)
STORE(storage, storage_find, true)
STORE(hash, hash_find, true)
STORE(array, array_find, false)

char LICENSE[] SEC("license") = "GPL";
