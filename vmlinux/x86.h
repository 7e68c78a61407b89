/* What of vmlinux.h is of x86-64 alone. */
#ifndef CTNBPF_VMLINUX_X86_H
#define CTNBPF_VMLINUX_X86_H

struct thread_info {
  __u32 cpu;
  __u32 status;
};

/* The first arguments of a function are in di and si. */
struct pt_regs {
  unsigned long ax;
  unsigned long orig_ax;
  unsigned long di;
  unsigned long si;
  unsigned long dx;
};

/* arch/x86/include/asm/thread_info.h: in a system call of a 32-bit program */
#define TS_COMPAT 2

/* x32 programs set a bit in the numbers of x86-64; 32-bit programs have numbers of their own. */
#define CALL_NUMBER(regs) (BPF_CORE_READ(regs, orig_ax) & ~0x40000000UL)
#define CALL_OF_32_BITS(task) ((task)->thread_info.status & TS_COMPAT)
#define CALL_SCHED_SETAFFINITY(compat) ((compat) ? 241 : 203)
#define CALL_SCHED_SETPARAM(compat) ((compat) ? 154 : 142)
#define CALL_SCHED_SETSCHEDULER(compat) ((compat) ? 156 : 144)
#define CALL_SCHED_SETATTR(compat) ((compat) ? 351 : 314)

#endif
