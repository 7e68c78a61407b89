/* The kernel types ctnbpf reads, and of those only the members it reads.
 *
 * Every access is relocated at load time against the running kernel's BTF (CO-RE), so neither the
 * order nor the offsets matter here. `scripts/gen-vmlinux` prints these types as a kernel really
 * has them: run it when a member is added or a new kernel renames one. */
#ifndef CTNBPF_VMLINUX_H
#define CTNBPF_VMLINUX_H

#define __VMLINUX_H__ /* libbpf's macros are to use the kernel's names of registers */

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

#if defined(__TARGET_ARCH_x86)
#include "x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arm64.h"
#else
#error "no types of this architecture: add them beside vmlinux/x86.h, and a case here"
#endif

typedef struct {
  unsigned int val;
} kuid_t;

typedef struct {
  __u32 cap[2]; /* one word of 64 bits since 6.3 */
} kernel_cap_t;

struct user_namespace {
  int level; /* 0: the machine's own */
};

struct cred {
  kuid_t uid;
  kernel_cap_t cap_effective;
  struct user_namespace *user_ns;
};

struct super_block {
  unsigned long s_flags;
  unsigned long s_magic;
};

struct inode {
  unsigned short i_mode;
  struct super_block *i_sb;
};

struct dentry {
  struct inode *d_inode;
};

struct mnt_namespace;

struct vfsmount {
  struct dentry *mnt_root;
};

struct mount {
  struct vfsmount mnt;
  struct mnt_namespace *mnt_ns;
};

struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};

struct file {
  unsigned int f_mode;
  struct inode *f_inode;
  struct path f_path;
};

struct cpumask {
  unsigned long bits[1]; /* as many as the kernel was built for */
};

struct kernfs_node {
  __u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
  struct cgroup *cgroup;
  struct cgroup_subsys_state *parent;
};

struct cgroup {
  struct cgroup_subsys_state self;
  struct kernfs_node *kn;
};

struct css_set {
  struct cgroup *dfl_cgrp;
  struct css_set *mg_dst_cset; /* while its tasks are being moved to other groups */
};

struct rq {
  __u64 clock;
  __u64 clock_task;
};

struct cfs_rq {
  struct rq *rq;
};

struct sched_entity {
  __u64 exec_start;
  __u64 sum_exec_runtime;
  struct cfs_rq *cfs_rq;
};

struct sched_info {
  unsigned long long run_delay;
};

struct pid_namespace;

struct upid {
  int nr;
  struct pid_namespace *ns;
};

struct pid {
  unsigned int level;     /* 0: known in the machine's own namespace only */
  struct upid numbers[1]; /* by level */
};

struct signal_struct {
  struct pid *pids[4]; /* by enum pid_type */
};

struct task_struct {
  struct thread_info thread_info;
  unsigned int __state;
  unsigned int flags;
  int exit_state;
  int pid;
  int tgid;
  unsigned int on_cpu; /* a byte on newer kernels: only unsigned words are fitted */
  struct sched_entity se;
  struct sched_info sched_info;
  __u64 utime;
  __u64 stime;
  struct task_struct *real_parent;
  struct task_struct *group_leader;
  struct pid *thread_pid; /* NULL once it is reaped */
  struct signal_struct *signal;
  __u64 start_boottime;
  const struct cred *real_cred;
  const struct cred *cred;
  struct cpumask cpus_mask;
  struct cpumask *user_cpus_ptr; /* what it has chosen itself; kept by the kernel from 6.2 on */
  int nr_cpus_allowed;
  struct css_set *cgroups;
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

struct bpf_iter__task_file {
  struct bpf_iter_meta *meta;
  struct task_struct *task;
  __u32 fd;
  struct file *file;
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

/* include/linux/pid_types.h */
#define PIDTYPE_TGID 1

/* include/linux/sched.h */
#define CLONE_INTO_CGROUP 0x200000000ULL
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define PF_NO_SETAFFINITY 0x04000000
#define TASK_STOPPED 0x00000004
#define TASK_TRACED 0x00000008
#define TASK_DEAD 0x00000080
#define TASK_NEW 0x00000800
#define EXIT_DEAD 0x00000010

/* include/linux/fs.h; others of these have moved from kernel to kernel */
#define FMODE_PATH 0x00004000
#define FMODE_OPENED 0x00080000
#define FMODE_NOACCOUNT 0x20000000
#define SB_KERNMOUNT (1UL << 22)

/* fs/mount.h: what is mounted for the kernel's own use, and in nobody's tree */
#define MNT_NS_INTERNAL (-22L)

/* include/uapi/linux/magic.h */
#define PIPEFS_MAGIC 0x50495045
#define SOCKFS_MAGIC 0x534f434b
#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define ANON_INODE_FS_MAGIC 0x09041934
#define SECRETMEM_MAGIC 0x5345434d
#define DMA_BUF_MAGIC 0x444d4142

/* include/uapi/linux/capability.h */
#define CAP_SYS_ADMIN 21

#endif
