/* The programs of numfiles (numfiles_hooks.h): what they do is in numfiles.bpf.h and numfiles_gate.bpf.h. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_PROGRAMS_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_PROGRAMS_BPF_H

#include "numfiles/numfiles.bpf.h"
#include "numfiles/numfiles_gate.bpf.h"
#include "numbers.bpf.h"
#include "numfiles/numfiles_hooks.h"

static __always_inline int on_file_alloc(struct file *file) {
  struct task_struct *task = bpf_get_current_task_btf();
  __u64 home = task_home(task);
  struct ctn_key *key = task_key(home);
  return key_is_home(key) ? numfiles_alloc(file, task, home, key) : 0;
}

SEC("lsm/file_alloc_security")
int BPF_PROG(l_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

/* Level fallback. */
SEC("fmod_ret/security_file_alloc")
int BPF_PROG(f_file_alloc, struct file *file, int ret) { return ret ? ret : on_file_alloc(file); }

/* The same where that program can be skipped, as with forks. */
SEC("kprobe/security_file_alloc")
int BPF_KPROBE(k_file_alloc, struct file *file) {
  on_file_alloc(file);
  return 0;
}

static __always_inline int file_refused(const struct file *file) {
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  return mine && numfiles_was_refused(file, mine) ? -ENFILE : 0;
}

#define FILE_GATE(name)               \
  SEC("fmod_ret/security_file_alloc") \
  int BPF_PROG(name, struct file *file, int ret) { return ret ? ret : file_refused(file); }

FILE_GATE(a_file_alloc)
FILE_GATE(b_file_alloc)
FILE_GATE(c_file_alloc)

/* BODY(..., current task, its home in the table of tasks, the key there) if it can be in that table. */
#define BY_TASK(body, ...)                                                   \
  ({                                                                         \
    struct task_struct *task = bpf_get_current_task_btf();                   \
    __u64 home = task_home(task);                                            \
    struct ctn_key *key = task_key(home);                                    \
    key_is_home(key) ? body(__VA_ARGS__ __VA_OPT__(, ) task, home, key) : 0; \
  })

static __always_inline void free_file(const struct file *file) {
  __u64 home = numfiles_home(file);
  struct ctn_key *key = numfiles_key(home);
  if (key_is_home(key)) numfiles_free(file, home, key);
}

/* The file was not opened after all: nor is what its task may have been charged for it beforehand. Out of line,
 * so that the others save no registers for it. */
static __noinline int file_not_opened(void) { return BY_TASK(numfiles_unreserve); }

SEC("lsm/file_free_security")
int BPF_PROG(l_file_free, struct file *file) {
  free_file(file);
  return 0;
}

/* The same with the open gate. */
SEC("lsm/file_free_security")
int BPF_PROG(l_file_gone, struct file *file) {
  if (!(file->f_mode & FMODE_OPENED)) return file_not_opened();
  free_file(file);
  return 0;
}

SEC("fentry/security_file_free")
int BPF_PROG(f_file_free, struct file *file) {
  free_file(file);
  return 0;
}

SEC("kprobe/security_file_free") /* never skipped */
int BPF_KPROBE(k_file_free, struct file *file) {
  free_file(file);
  return 0;
}

/* A file that the kernel opens below another one (overlayfs does), which is charged already. The gate
 * can see no difference, so it is told before; and told otherwise after, should the kernel have
 * failed before the gate. */
static __always_inline int inner_file(__u32 next) {
  struct ctn_task *mine = task_find(bpf_get_current_task_btf());
  if (mine) mine->inner_file = next;
  return 0;
}

/* By kprobes where tasks are preempted in the kernel: a tracing program that is skipped before would have
 * the inner file charged too, one that is skipped after leave the task's next file uncharged. */
#define INNER_FILE(name, function)                  \
  SEC("fentry/" function)                           \
  int f_##name(void *ctx) { return inner_file(1); } \
  SEC("fexit/" function)                            \
  int x_##name(void *ctx) { return inner_file(0); } \
  SEC("kprobe/" function)                           \
  int k_##name(void *ctx) { return inner_file(1); } \
  SEC("kretprobe/" function)                        \
  int r_##name(void *ctx) { return inner_file(0); }

INNER_FILE(file_noacct, "alloc_empty_file_noaccount") /* until 6.5 */
INNER_FILE(file_backing, "alloc_empty_backing_file")  /* since 6.5 */

/* Where the allocation of files is closed to LSM programs: see numfiles_gate.bpf.h. */
SEC("lsm/file_open")
int BPF_PROG(l_file_open, struct file *file, int ret) {
  return ret ? ret : BY_TASK(numfiles_open, file);
}

/* Also asked where O_CREAT may not make anything, as the file is found to be there. */
SEC("lsm/inode_create")
int BPF_PROG(l_inode_create, struct inode *dir, struct dentry *dentry, int mode, int ret) {
  return ret ? ret : BY_TASK(numfiles_reserve);
}

SEC("lsm/perf_event_open")
int BPF_PROG(l_perf_open, int type, int ret) { return ret ? ret : BY_TASK(numfiles_reserve); }

SEC("lsm/inode_alloc_security")
int BPF_PROG(l_inode_alloc, struct inode *inode, int ret) {
  return ret ? ret : BY_TASK(numfiles_inode, inode);
}

SEC("lsm/inode_free_security")
int BPF_PROG(l_inode_free, struct inode *inode) {
  __u64 home = numfiles_home(inode);
  struct ctn_key *key = numfiles_key(home);
  if (key_is_home(key)) numfiles_free(inode, home, key);
  return 0;
}

SEC("lsm/socket_create")
int BPF_PROG(l_sock_create, int family, int type, int protocol, int kern, int ret) {
  struct ctn_task *task = task_find(bpf_get_current_task_btf());
  return ret || !task ? ret : numfiles_socket(task, kern);
}

SEC("kprobe/file_init_path")
int BPF_KPROBE(k_file_init, const struct file *file, const struct path *path) {
  return BY_TASK(numfiles_made, file, path);
}

/* Level fallback: what its gate let pass, as it was skipped, is charged all the same. */
SEC("kprobe/do_dentry_open")
int BPF_KPROBE(k_dentry_open, const struct file *file) { return BY_TASK(numfiles_passed, file); }

/* The system calls of CTN_SPECIAL_FILES. A kprobe, which is not skipped and comes before the programs of a
 * function's trampoline, charges for the file that is to come; three programs refuse the call if that could
 * not be: as short as can be, since a task that is preempted inside of one has it skipped for others. At the
 * end of the call a charge that found no file goes. */
static __always_inline long special_refused(void) {
  struct task_struct *task = bpf_get_current_task_btf();
  __u64 place = table_find(task_keys, &task_places, task);
  return place != NO_PLACE && !numfiles_may_make(place) ? -ENFILE : 0; /* the result has 64 bits */
}

/* The registers the system call was made with are its function's argument. */
static __always_inline bool has_descriptor(const struct pt_regs *regs) {
  return (int)PT_REGS_PARM1_CORE(regs) != -1;
}

SEC("kprobe/" CTN_SYSCALL(eventfd2)) /* and others */
int k_special(void *ctx) { return BY_TASK(numfiles_reserve); }

SEC("kprobe/" CTN_SYSCALL(signalfd4)) /* with a descriptor signalfd changes that one */
int BPF_KPROBE(k_sigfd, const struct pt_regs *regs) {
  return has_descriptor(regs) ? 0 : BY_TASK(numfiles_reserve);
}

SEC("kretprobe/" CTN_SYSCALL(eventfd2)) /* and others */
int r_special(void *ctx) { return BY_TASK(numfiles_unreserve); }

#define SPECIAL_GATE(name, call)                                            \
  SEC("fmod_ret/" CTN_SYSCALL(call))                                        \
  long BPF_PROG(name, const struct pt_regs *regs, long ret) {               \
    return ret || CTN_HAS_DESCRIPTOR(call, regs) ? ret : special_refused(); \
  }
#define CTN_HAS_DESCRIPTOR(call, regs) (#call[0] == 's' && has_descriptor(regs)) /* signalfd */
#define SPECIAL_FILE(gate, call, kprobe) \
  gate(a_##call, call) gate(b_##call, call) gate(c_##call, call)

CTN_SPECIAL_FILES(SPECIAL_FILE, SPECIAL_GATE)

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

#endif
