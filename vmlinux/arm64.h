/* What of vmlinux.h is of arm64 alone. */
#ifndef CTNBPF_VMLINUX_ARM64_H
#define CTNBPF_VMLINUX_ARM64_H

struct thread_info {
  unsigned long flags;
  __u32 cpu;
};

/* What libbpf's macros read arguments from: the first are in regs[0] and regs[1]. */
struct user_pt_regs {
  __u64 regs[31];
};

struct pt_regs {
  __u64 regs[31];
  __s32 syscallno;
};

/* arch/arm64/include/asm/thread_info.h: TIF_32BIT */
#define TIF_32BIT 22

/* 32-bit programs have numbers of their own. */
#define CALL_NUMBER(regs) ((unsigned long)(__u32)BPF_CORE_READ(regs, syscallno))
#define CALL_OF_32_BITS(task) ((task)->thread_info.flags & (1UL << TIF_32BIT))
#define CALL_SCHED_SETAFFINITY(compat) ((compat) ? 241 : 122)
#define CALL_SCHED_SETPARAM(compat) ((compat) ? 154 : 118)
#define CALL_SCHED_SETSCHEDULER(compat) ((compat) ? 156 : 119)
#define CALL_SCHED_SETATTR(compat) ((compat) ? 380 : 274)

#endif
