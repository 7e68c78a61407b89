/* numfiles where the allocation of a file is closed to LSM programs (from 6.19 on): files are refused and
 * charged by hooks of LSM, which are never skipped, before they are allocated or as they are opened.
 *
 *  - What is opened (files, directories, devices, terminals, queues, pidfds): lsm/file_open. A file that
 *    O_CREAT makes is charged before it is made (lsm/inode_create), so that a refusal leaves nothing.
 *  - Pipes, sockets, memory, io_uring, userfaultfd: by their inode, which only they have
 *    (lsm/inode_alloc_security). The charge is entered under the inode until its files are made.
 *  - eventfd, epoll, timerfd, signalfd, inotify share one inode, and no LSM hook sees them made. A kprobe
 *    at the system call charges, entered under the task until the file is made; three fmod_ret programs
 *    refuse the call if that failed. One is skipped while a task that was preempted inside of it is off the
 *    CPU: for a file to pass, there must be one in each of the three. perf events have an LSM hook.
 *
 * file_init_path() gives each file of the last two kinds its path, with its inode and the file both in
 * sight: there the charge goes from inode or task to the file, and what has none is charged, whatever the
 * limit: so what passed a gate is counted all the same, and what has no gate (32-bit programs, kinds that
 * the list of calls does not have). A kprobe runs with preemption off and is not skipped; should it be,
 * because somebody is in a system call on BPF maps on this CPU, the charge stays with the inode and goes
 * with it.
 *
 * Not seen at all: O_PATH. Its way to the file is that of every other open, and what is on that way is
 * either no hook or one that every open of the machine would pay for. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_GATE_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_GATE_BPF_H

#include "numfiles/numfiles.bpf.h"

/* Set at load where these programs are the gate. */
const volatile bool files_are_reserved = false;

/* Under what a task's charge for its next file is entered, by the place of its record: no object's
 * address, as it is odd. */
static __always_inline __u64 numfiles_reserved(__u64 place) { return place << 1 | 1 | 1ULL << 62; }

/* The entry of `from`, if there is one, becomes that of `file`, or one of its files does. Both are the
 * current task's own and nobody else's yet. */
static __noinline int numfiles_hand_over(__u64 from, const void *file) {
  const void *object = (const void *)from;
  __u64 home = numfiles_home(object);
  struct ctn_key *key = numfiles_key(home);
  if (!key_is_home(key)) return 0;
  __u64 place = table_find_from(file_keys, &file_places, object, home, key);
  if (place == NO_PLACE) return 0;
  struct ctn_file *record = section_at(file_records, place);
  __u32 slot = record->slot, mode = record->mode;
  if (ctn_file_more(mode)) {
    record->mode = mode - (1U << CTN_FILE_MORE_SHIFT);
  } else {
    *(__u64 *)record = 0;
    key_remove(numfiles_key(place), key, place != home);
  }
  mode &= BEANS_FLAT;
  place = table_insert(file_keys, &file_places, file);
  if (place == NO_PLACE) { /* as it cannot be given back later, it is now */
    count_miss(CTN_MISS_FILE_LOST);
    numfiles_give_back(slot, mode);
    return 1;
  }
  record = section_at(file_records, place);
  record->mode = mode;
  record->slot = slot;
  return 1;
}

/* Charges what is there already. */
static __noinline int numfiles_force_file(const void *file, const struct ctn_task *task) {
  __u32 slot = numfiles_hold(task);
  __u64 index = container_index(slot);
  if (index >= container_count) return 0;
  __u64 place = table_insert(file_keys, &file_places, file);
  if (place == NO_PLACE) {
    count_miss(CTN_MISS_FILE_LOST);
    node_put(indexed_container(nodes, index), slot);
    return 0;
  }
  __u32 mode = core.modes[CTN_NUMFILES];
  numfiles_force(slot, mode);
  struct ctn_file *record = section_at(file_records, place);
  record->mode = mode;
  record->slot = slot;
  count_miss(CTN_MISS_FILE_LATE);
  return 0;
}

/* Only the task itself makes such a charge and uses it. */
static __noinline int numfiles_use_reserved(__u64 place, const struct file *file) {
  if (place >= task_places) return 0;
  struct ctn_task *task = section_at(task_records, place);
  task->inner_file &= ~NUMFILES_RESERVED;
  return numfiles_hand_over(numfiles_reserved(place), file);
}

/* Is the file one that the kernel opens below another (overlayfs does)? That is on a mount in nobody's tree, of
 * a file system that is not the kernel's own, and opened with the rights of whoever mounted: the cheap
 * question comes first. */
static __always_inline bool numfiles_is_inner(const struct file *file,
                                              const struct task_struct *current) {
  if (current->cred == current->real_cred) return false;
  struct mount *mount = NULL;
  long ns = 0;
  void *mnt = (void *)BPF_CORE_READ(file, f_path.mnt) - bpf_core_field_offset(struct mount, mnt);
  bpf_probe_read_kernel(&ns, sizeof(ns), mnt + bpf_core_field_offset(mount->mnt_ns));
  return ns == MNT_NS_INTERNAL && !(BPF_CORE_READ(file, f_inode, i_sb, s_flags) & SB_KERNMOUNT);
}

/* A file is being opened. `home` and `key` are of the current task, here and below. */
static __noinline int numfiles_open(const struct file *file, const struct task_struct *current,
                                    __u64 home, struct ctn_key *key) {
  __u64 place = task_place_from(current, home, key);
  if (place == NO_PLACE || numfiles_is_inner(file, current)) return 0;
  struct ctn_task *task = section_at(task_records, place);
  if (task->inner_file & NUMFILES_RESERVED && numfiles_use_reserved(place, file)) return 0;
  home = numfiles_home(file);
  key = numfiles_key(home);
  return numfiles_enter(file, task, home, key, 0);
}

/* The task whose record is at `place` is about to make a file that cannot be charged as it is made: charged now.
 * Global, as many programs call it: the verifier follows it once. */
__noinline int numfiles_reserve_at(__u64 place) {
  if (place >= task_places) return 0;
  struct ctn_task *task = section_at(task_records, place);
  if (task->inner_file & NUMFILES_RESERVED) return 0;
  const void *own = (const void *)numfiles_reserved(place);
  __u64 home = numfiles_home(own);
  int err = numfiles_enter(own, task, home, numfiles_key(home), 0);
  if (!err) task->inner_file |= NUMFILES_RESERVED;
  return err;
}

/* Is there such a charge? Where it is not charged at all, too. */
static __always_inline bool numfiles_may_make(__u64 place) {
  struct ctn_task *task = section_at(task_records, place);
  return task->inner_file & NUMFILES_RESERVED || task_slot(task, CTN_NUMFILES) < CTN_MAX_HIER;
}

/* It has not made it, or ends. */
__noinline int numfiles_unreserve_at(__u64 place) {
  if (place >= task_places) return 0;
  struct ctn_task *task = section_at(task_records, place);
  if (!(task->inner_file & NUMFILES_RESERVED)) return 0;
  task->inner_file &= ~NUMFILES_RESERVED;
  const void *own = (const void *)numfiles_reserved(place);
  __u64 home = numfiles_home(own);
  struct ctn_key *key = numfiles_key(home);
  return key_is_home(key) ? numfiles_free(own, home, key) : 0;
}

static __always_inline int numfiles_reserve(const struct task_struct *current, __u64 home,
                                            struct ctn_key *key) {
  __u64 place = task_place_from(current, home, key);
  /* What a global function returns the verifier does not know. */
  return place != NO_PLACE && numfiles_reserve_at(place) ? -ENFILE : 0;
}

static __always_inline int numfiles_unreserve(const struct task_struct *current, __u64 home,
                                              struct ctn_key *key) {
  __u64 place = task_place_from(current, home, key);
  if (place != NO_PLACE) numfiles_unreserve_at(place);
  return 0;
}

/* An inode is being made: how many files of its own will it have, less one; or none. */
static __always_inline int numfiles_more_of(const struct super_block *sb) {
  switch (sb->s_magic) {
    case PIPEFS_MAGIC: return 1;
    case SOCKFS_MAGIC:
    case ANON_INODE_FS_MAGIC: /* io_uring, userfaultfd */
    case SECRETMEM_MAGIC:
    case DMA_BUF_MAGIC: return 0;
    case TMPFS_MAGIC: /* memfd, shared anonymous and System V memory: the kernel's own mount */
    case HUGETLBFS_MAGIC: return sb->s_flags & SB_KERNMOUNT ? 0 : -1;
    default: return -1;
  }
}

static __noinline int numfiles_inode(const struct inode *inode, const struct task_struct *current,
                                     __u64 home, struct ctn_key *key) {
  struct ctn_task *task = task_find_from(current, home, key);
  if (!task) return 0;
  const struct super_block *sb = inode->i_sb;
  int more = numfiles_more_of(sb);
  if (more < 0) return 0;
  if (sb->s_magic == SOCKFS_MAGIC && task->inner_file & NUMFILES_INNER_SOCKET) {
    task->inner_file &= ~NUMFILES_INNER_SOCKET;
    return 0;
  }
  home = numfiles_home(inode);
  key = numfiles_key(home);
  return numfiles_enter(inode, task, home, key, more);
}

/* A socket is about to be made: by the kernel for itself (`kern`), then it has no file. */
static __always_inline int numfiles_socket(struct ctn_task *task, int kern) {
  task->inner_file &= ~NUMFILES_INNER_SOCKET;
  if (kern) task->inner_file |= NUMFILES_INNER_SOCKET;
  return 0;
}

/* file_init_path(): a file that was not opened has been made. */
static __noinline int numfiles_made(const struct file *file, const struct path *path,
                                    const struct task_struct *current, __u64 home,
                                    struct ctn_key *key) {
  __u64 place = task_place_from(current, home, key);
  if (place == NO_PLACE) return 0;
  if (!files_are_reserved && table_find(file_keys, &file_places, file) != NO_PLACE) return 0;
  if (numfiles_hand_over((__u64)BPF_CORE_READ(path, dentry, d_inode), file)) return 0;
  struct ctn_task *task = section_at(task_records, place);
  if (task->inner_file & NUMFILES_RESERVED && numfiles_use_reserved(place, file)) return 0;
  if (BPF_CORE_READ(file, f_mode) & FMODE_NOACCOUNT) return 0;
  return numfiles_force_file(file, task);
}

/* do_dentry_open(), where the gate at the allocation can be skipped: a file that is not charged was let pass, or
 * is the kernel's own. */
static __noinline int numfiles_passed(const struct file *file, const struct task_struct *current,
                                      __u64 home, struct ctn_key *key) {
  __u64 place = task_place_from(current, home, key);
  if (place == NO_PLACE || table_find(file_keys, &file_places, file) != NO_PLACE) return 0;
  if (BPF_CORE_READ(file, f_mode) & FMODE_NOACCOUNT || numfiles_is_inner(file, current)) return 0;
  return numfiles_force_file(file, section_at(task_records, place));
}

#endif
