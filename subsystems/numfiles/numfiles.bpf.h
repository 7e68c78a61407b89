/* numfiles, kernel side: one charge for each struct file a contained task has the kernel allocate,
 * given back when the file is freed.
 *
 * The table of files says what is charged where; a file that is not in it is not ours. An entry is
 * made by the gate before anybody else knows the file, and dropped by the freeing hook before the
 * file's address can be used again, so both are alone with it. Each entry holds a reference to its
 * container, so that the slot in it stays that container's. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_BPF_H

#include "ctn.bpf.h"
#include "events.bpf.h"
#include "numfiles/numfiles.h"

#define BEANS numfiles
#include "beancounter/beancounter.bpf.h"

CTN_TABLE(file, struct ctn_file);

static __always_inline __u64 numfiles_home(const void *file) {
  return table_home(&file_places, file);
}
static __always_inline struct ctn_key *numfiles_key(__u64 place) {
  return section_at(file_keys, place);
}

/* Gives back one file charged to `slot` with `mode`. */
static __always_inline void numfiles_give_back(__u32 slot, __u32 mode) {
  __u64 index = container_index(slot);
  if (index >= container_count) return;
  numfiles_uncharge_record(indexed_container(numfiles, index), mode);
  node_put(indexed_container(nodes, index), slot);
}

/* Drops the entry of a file (or of what stands for one), and its charge; `home` is its home in the table,
 * `home_key` the key there. */
static __noinline int numfiles_free(const void *file, __u64 home, struct ctn_key *home_key) {
  __u64 place = table_find_from(file_keys, &file_places, file, home, home_key);
  if (place == NO_PLACE) return 0;
  struct ctn_file *record = section_at(file_records, place);
  __u64 both = *(__u64 *)record; /* slot and mode */
  *(__u64 *)record = 0;
  key_remove(numfiles_key(place), home_key, place != home);
  __u32 slot = (__u32)both, mode = both >> 32;
  numfiles_give_back(slot, mode);
  if (ctn_file_more(mode)) numfiles_give_back(slot, mode);
  return 0;
}

/* Set at load where the freeing of a file can go unseen: the freeing hook may be skipped, or the gate
 * runs before the kernel's own part of the allocation, which may fail. The next file at the address
 * then finds an entry that is not its own. That of a contained task gives it back at the gate, any
 * other one when it is freed. */
const volatile bool file_entry_can_stay = true;

/* Set at load where k_file_alloc charges and others refuse. */
const volatile bool file_gate_can_skip = false;

/* A reference to the container `task` (the current one) is in; its slot, or 0. The task may be moved
 * on another CPU meanwhile: looking again after the reference was got makes sure that its container
 * was still held by this task then, and so not removed under us. */
static __noinline __u32 numfiles_hold(const struct ctn_task *task) {
  const volatile __u32 *word = task_word(task, CTN_NUMFILES);
  for (int tries = 0; word && tries < 8; tries++) {
    __u32 slot = *word & ~CTN_EXITED;
    struct ctn_node *node = container_at(nodes, slot);
    if (!node) return 0;
    node_get(node);
    if ((*word & ~CTN_EXITED) == slot) return slot;
    node_put(node, slot);
  }
  return 0;
}

/* The entry at `place`, which was made and has no charge, goes, and the reference. */
static __noinline int numfiles_undo(const void *file, __u64 place, __u32 slot) {
  __u64 home = numfiles_home(file);
  if (place != NO_PLACE) key_remove(numfiles_key(place), numfiles_key(home), place != home);
  struct ctn_node *node = container_at(nodes, slot);
  if (node) node_put(node, slot);
  return -ENFILE;
}

static __always_inline bool numfiles_bounded_one(struct climb *at) {
  struct beans_state *state = climb_record(at, numfiles);
  if (!state || *(volatile __u64 *)&state->limit <= at->what) return true;
  at->slot = state->parent;
  return false;
}
CLIMB(numfiles_bounded_one)

/* The rest of numfiles_may_enter() for a container that has more than its own part of the table. */
__noinline int numfiles_may_borrow(__u32 slot) {
  if (!lending_is_over(CTN_LEND_FILES)) return true;
  struct climb up = {.slot = slot, .stop = CLIMB_ALL, .what = core.lending[CTN_LEND_FILES].bounded};
  numfiles_bounded_one_up(&up);
  if (climb_ended_at(&up)) return true;
  count_miss(CTN_MISS_FILE_LENT);
  event_refused(CTN_EVENT_FILE_REFUSED, slot, core.bound[CTN_NUMFILES] - 1);
  return false;
}

/* May one more file of `slot`, which has its reference in `node` by now, be entered in the table? See struct
 * ctn_lending. */
static __always_inline bool numfiles_may_enter(__u32 slot, const struct ctn_node *node) {
  return *(volatile __u32 *)&node->refs <= file_own || numfiles_may_borrow(slot);
}

/* Charges one file, and `more` (0 or 1) others, to the container `task` (the current one) is in, and enters
 * that as `file`, whose home in the table is `home`, `key` the key there. 0 or -ENFILE. */
static __always_inline int numfiles_enter(const void *file, const struct ctn_task *task, __u64 home,
                                          struct ctn_key *key, __u32 more) {
  /* The first try of numfiles_hold() in line, as it is the last one but for moves. */
  if (!core.bound[CTN_NUMFILES]) return 0;
  const volatile __u32 *word = task_word(task, CTN_NUMFILES);
  __u32 slot = *word & ~CTN_EXITED;
  __u64 index = container_index(slot);
  if (index >= container_count) return 0;
  struct ctn_node *node = indexed_container(nodes, index);
  node_get(node);
  if ((*word & ~CTN_EXITED) != slot) {
    node_put(node, slot);
    slot = numfiles_hold(task);
    index = container_index(slot);
    if (index >= container_count) return 0;
  }
  if (!numfiles_may_enter(slot, indexed_container(nodes, index)))
    return numfiles_undo(file, NO_PLACE, slot);
  __u64 place = table_insert_from(file_keys, &file_places, file, home, key);
  if (place == NO_PLACE) {
    count_miss(CTN_MISS_FILE_TABLE_FULL);
    return numfiles_undo(file, place, slot);
  }
  __u32 mode = core.modes[CTN_NUMFILES];
  struct beans_state *state = indexed_container(numfiles, index);
  __u32 by = numfiles_charge_record(state, slot, mode);
  if (!by && more) {
    by = numfiles_charge_record(state, slot, mode);
    if (by) numfiles_uncharge_record(state, mode);
    if (!by) node_get(indexed_container(nodes, index));
  }
  if (!by) {
    struct ctn_file *record = section_at(file_records, place);
    record->mode = mode | more << CTN_FILE_MORE_SHIFT;
    record->slot = slot;
    return 0;
  }
  numfiles_refused(slot, by, CTN_EVENT_FILE_REFUSED);
  return numfiles_undo(file, place, slot);
}

/* Of ctn_task.inner_file: what the task makes next is the kernel's own. */
#define NUMFILES_INNER_FILE 1   /* the next file */
#define NUMFILES_INNER_SOCKET 2 /* the next inode of a socket */
#define NUMFILES_INNER_NOW 3    /* the file of which k_file_alloc has just been told */
#define NUMFILES_RESERVED 4     /* a bit: it is charged for its next file already */

/* The gate, in the context of who opens, `current`; nothing of the file is set up yet. `home` is its home in
 * the table of tasks, `key` the key there. 0 or -ENFILE. */
static __noinline int numfiles_alloc(const struct file *file, const struct task_struct *current,
                                     __u64 home, struct ctn_key *key) {
  struct ctn_task *task = task_find_from(current, home, key);
  if (!task) return 0;
  home = numfiles_home(file);
  key = numfiles_key(home);
  if (key_is_home(key) && file_entry_can_stay) numfiles_free(file, home, key);
  if (task->inner_file) {
    bool now = task->inner_file == NUMFILES_INNER_FILE;
    task->inner_file = now && file_gate_can_skip ? NUMFILES_INNER_NOW : 0;
    if (now) return 0;
  }
  return numfiles_enter(file, task, home, key, 0);
}

/* Has k_file_alloc found no room for the file of `task`, which is the current one? */
static __always_inline bool numfiles_was_refused(const struct file *file,
                                                 const struct ctn_task *task) {
  return task_slot(task, CTN_NUMFILES) >= CTN_MAX_HIER && task->inner_file != NUMFILES_INNER_NOW &&
         table_find(file_keys, &file_places, file) == NO_PLACE;
}

#endif
