/* Hooks of numfiles alone, for the programs, the probes and the table of what is attached. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_HOOKS_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_HOOKS_H

/* Of the machine that is compiled for; programs are for no machine, and are told. */
#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
#define CTN_ARM64
#endif

/* The kernel's function for a system call. Those of 32-bit programs cannot be refused. */
#ifdef CTN_ARM64
#define CTN_SYSCALL(call) "__arm64_sys_" #call
#else
#define CTN_SYSCALL(call) "__x64_sys_" #call
#endif

/* System calls that make files no LSM hook sees where the allocation is closed to LSM programs, each with
 * the program of the kprobe that charges for the file to come. Each gets three programs that refuse (a_,
 * b_, c_). */
#ifdef CTN_ARM64
#define CTN_SPECIAL_FILES(one)                                                          \
  one(eventfd2, k_special) one(epoll_create1, k_special) one(timerfd_create, k_special) \
      one(inotify_init1, k_special) one(signalfd4, k_sigfd)
#else
#define CTN_SPECIAL_FILES(one)                                                                  \
  one(eventfd2, k_special) one(eventfd, k_special) one(epoll_create1, k_special)                \
      one(epoll_create, k_special) one(timerfd_create, k_special) one(inotify_init1, k_special) \
          one(inotify_init, k_special) one(signalfd4, k_sigfd) one(signalfd, k_sigfd)
#endif

#endif
