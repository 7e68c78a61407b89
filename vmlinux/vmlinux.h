/* The kernel types ctnbpf reads, and of those only the members it reads.
 *
 * Every access is relocated at load time against the running kernel's BTF (CO-RE), so neither the
 * order nor the offsets matter here. `scripts/gen-vmlinux` prints these types as a kernel really
 * has them: run it when a member is added or a new kernel renames one. */
#ifndef CTNBPF_VMLINUX_H
#define CTNBPF_VMLINUX_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

typedef struct {
  unsigned int val;
} kuid_t;

struct cred {
  kuid_t uid;
};

struct task_struct {
  unsigned int __state;
  unsigned int flags;
  int exit_state;
  int pid;
  int tgid;
  struct task_struct *real_parent;
  struct task_struct *group_leader;
  const struct cred *real_cred;
  char comm[16];
};

struct seq_file;

struct bpf_iter_meta {
  struct seq_file *seq;
};

struct bpf_iter__task {
  struct bpf_iter_meta *meta;
  struct task_struct *task;
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

/* include/linux/sched.h */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define TASK_NEW 0x00000800

#endif
