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

static __always_inline __u64 numfiles_home(const struct file *file) {
  return table_home(&file_places, file);
}
static __always_inline struct ctn_key *numfiles_key(__u64 place) {
  return section_at(file_keys, place);
}

/* Drops a file's entry and its charge, if it has one; `home` is its home in the table, `home_key` the key
 * there. */
static __noinline int numfiles_free(const struct file *file, __u64 home, struct ctn_key *home_key) {
  __u64 place = table_find_from(file_keys, &file_places, file, home, home_key);
  if (place == NO_PLACE) return 0;
  struct ctn_file *record = section_at(file_records, place);
  __u64 both = *(__u64 *)record; /* slot and mode */
  *(__u64 *)record = 0;
  key_remove(numfiles_key(place), home_key, place != home);
  __u32 slot = (__u32)both;
  __u64 index = container_index(slot);
  if (index >= container_count) return 0;
  numfiles_uncharge_record(indexed_container(numfiles, index), both >> 32);
  node_put(indexed_container(nodes, index), slot);
  return 0;
}

/* Set at load where the freeing of a file can go unseen: the freeing hook may be skipped, or the gate
 * runs before the kernel's own part of the allocation, which may fail. The next file at the address
 * then finds an entry that is not its own. That of a contained task gives it back at the gate, any
 * other one when it is freed. */
const volatile bool file_entry_can_stay = true;

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
static __noinline int numfiles_undo(const struct file *file, __u64 place, __u32 slot) {
  __u64 home = numfiles_home(file);
  if (place != NO_PLACE) key_remove(numfiles_key(place), numfiles_key(home), place != home);
  struct ctn_node *node = container_at(nodes, slot);
  if (node) node_put(node, slot);
  return -ENFILE;
}

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
    task->inner_file = 0;
    return 0;
  }
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
  __u64 place = table_insert_from(file_keys, &file_places, file, home, key);
  if (place == NO_PLACE) {
    count_miss(CTN_MISS_FILE_TABLE_FULL);
    return numfiles_undo(file, place, slot);
  }
  __u32 mode = core.modes[CTN_NUMFILES];
  __u32 by = numfiles_charge_record(indexed_container(numfiles, index), slot, mode);
  if (!by) {
    struct ctn_file *record = section_at(file_records, place);
    record->mode = mode;
    record->slot = slot;
    return 0;
  }
  numfiles_refused(slot, by, CTN_EVENT_FILE_REFUSED);
  return numfiles_undo(file, place, slot);
}

#endif
