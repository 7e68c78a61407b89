/* Numbers of tasks as the pid namespace of the current task, who runs an iterator or a program, has them. In
 * the machine's own namespace they are what the kernel calls pid and tgid, and nothing is looked up. */
#ifndef CTNBPF_BPF_NUMBERS_BPF_H
#define CTNBPF_BPF_NUMBERS_BPF_H

#include "ctn.bpf.h"

struct reader {
  __u32 level; /* of its namespace; 0: the machine's own */
  __u64 ns;    /* which it is; 0 at level 0 */
};

static __always_inline const void *upid_at(const struct pid *pid, __u32 level) {
  return (const void *)pid + bpf_core_field_offset(pid->numbers) +
         (__u64)level * bpf_core_type_size(struct upid);
}

static __always_inline __u64 namespace_at(const struct pid *pid, __u32 level) {
  __u64 ns = 0;
  bpf_probe_read_kernel(&ns, sizeof(ns),
                        upid_at(pid, level) + bpf_core_field_offset(((struct upid *)0)->ns));
  return ns;
}

static __always_inline struct reader current_reader(void) {
  const struct pid *pid = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid);
  struct reader reader = {};
  if (!pid) return reader;
  reader.level = BPF_CORE_READ(pid, level);
  if (reader.level) reader.ns = namespace_at(pid, reader.level);
  return reader;
}

/* Of what `pid` names; 0: it is not known in the reader's namespace. That at the same level may be another
 * one, so which it is counts. */
static __noinline __u32 number_of(const struct reader *reader, const struct pid *pid) {
  if (!pid || BPF_CORE_READ(pid, level) < reader->level) return 0;
  if (reader->level && namespace_at(pid, reader->level) != reader->ns) return 0;
  int number = 0;
  bpf_probe_read_kernel(
      &number, sizeof(number),
      upid_at(pid, reader->level) + bpf_core_field_offset(((struct upid *)0)->nr));
  return number;
}

static __always_inline __u32 task_number(const struct reader *reader, struct task_struct *task) {
  return reader->level ? number_of(reader, BPF_CORE_READ(task, thread_pid)) : task->pid;
}

static __always_inline __u32 process_number(const struct reader *reader, struct task_struct *task) {
  return reader->level ? number_of(reader, BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]))
                       : task->tgid;
}

#endif
