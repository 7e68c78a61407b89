/* The hooks of numfiles: see numfiles_programs.bpf.h. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_HOOKS_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_HOOKS_H

#include "hook_rows.h"

/* The kernel's function for a system call. Those of 32-bit programs cannot be refused. */
#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
#define CTN_SYSCALL(call) "__arm64_sys_" #call
#define CTN_OLD_SPECIAL_FILES(one, with) /* newer machines have the newer calls only */
#else
#define CTN_SYSCALL(call) "__x64_sys_" #call
#define CTN_OLD_SPECIAL_FILES(one, with)                           \
  one(with, eventfd, k_special) one(with, epoll_create, k_special) \
      one(with, inotify_init, k_special) one(with, signalfd, k_sigfd)
#endif

/* System calls that make files no LSM hook sees where the allocation is closed to LSM programs, each with the
 * program of the kprobe that charges for the file to come. Each gets three programs that refuse (a_, b_, c_). */
#define CTN_MORE_SPECIAL_FILES(one, with)                                  \
  one(with, epoll_create1, k_special) one(with, timerfd_create, k_special) \
      one(with, inotify_init1, k_special) CTN_OLD_SPECIAL_FILES(one, with)
#define CTN_SPECIAL_FILES(one, with) \
  one(with, eventfd2, k_special) one(with, signalfd4, k_sigfd) CTN_MORE_SPECIAL_FILES(one, with)

#define CTN_INNER_SKIPPED "a file of the kernel's own below another was counted too"
#define CTN_RESERVE_SKIPPED \
  "a charge for a file that was not made stays until the task makes one, or ends"

/* Around a function that makes a file below another: see inner_file(). Only attached: it takes a mounted overlayfs
 * to fire. */
#define CTN_INNER_FILE(HOOK, name, function, in_batch)                                      \
  HOOK(x_##name, "fexit/" function, .group = CTN_HOOKS_FILE, .levels = kGate,               \
       .when = When::kIfCalm, .only_if = numfiles_gate_is_alloc, .standby = "r_" #name,     \
       .batch = in_batch, .skipped = CTN_INNER_SKIPPED)                                     \
  HOOK(f_##name, "fentry/" function, .group = CTN_HOOKS_FILE, .levels = kGate,              \
       .when = When::kIfCalm, .only_if = numfiles_gate_is_alloc, .standby = "k_" #name,     \
       .batch = in_batch, .skipped = CTN_INNER_SKIPPED)                                     \
  HOOK(r_##name, "kretprobe/" function, .group = CTN_HOOKS_FILE, .levels = kGate,           \
       .when = When::kIfSkips, .only_if = numfiles_gate_is_alloc, .batch = Batch::kKprobes, \
       .skipped =                                                                           \
           "if the kernel could not make a file below another, the task's next file "       \
           "is not counted")                                                                \
  HOOK(k_##name, "kprobe/" function, .group = CTN_HOOKS_FILE, .levels = kGate,              \
       .when = When::kIfSkips, .only_if = numfiles_gate_is_alloc, .batch = Batch::kKprobes)

#define CTN_SPECIAL_RETURN(COPY, call, kprobe)                                               \
  COPY(r_##call, "kretprobe/" CTN_SYSCALL(call), .group = CTN_HOOKS_FILE, .levels = kStrict, \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .program = "r_special",     \
       .like = "r_special", .skipped = CTN_RESERVE_SKIPPED)
#define CTN_SPECIAL_KPROBE(COPY, call, kprobe)                                            \
  COPY(k_##call, "kprobe/" CTN_SYSCALL(call), .group = CTN_HOOKS_FILE, .levels = kStrict, \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .program = #kprobe,      \
       .like = #kprobe)
#define CTN_SPECIAL_GATE(GATE, call, kprobe)                                                \
  GATE(a_##call, "fmod_ret/" CTN_SYSCALL(call), .group = CTN_HOOKS_FILE, .levels = kStrict, \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {make_by_##call},  \
       .batch = Batch::kCalls, .better = kStrictFile, .skipped = CTN_GATES_SKIPPED)
#define CTN_SPECIAL_COPIES(COPY, call, kprobe)                                              \
  COPY(b_##call, "fmod_ret/" CTN_SYSCALL(call), .group = CTN_HOOKS_FILE, .levels = kStrict, \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .like = "a_" #call,        \
       .skipped = CTN_GATES_SKIPPED)                                                        \
  COPY(c_##call, "fmod_ret/" CTN_SYSCALL(call), .group = CTN_HOOKS_FILE, .levels = kStrict, \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .like = "a_" #call,        \
       .skipped = CTN_GATES_SKIPPED)

#define CTN_NUMFILES_HOOKS(HOOK, GATE, COPY)                                                       \
  HOOK(l_file_free, "lsm/file_free_security", .group = CTN_HOOKS_FILE_FREE, .levels = kStrict,     \
       .when = When::kIfThere, .only_if = numfiles_gate_is_alloc, .fire = {open_and_close})        \
  COPY(l_file_gone, "lsm/file_free_security", .group = CTN_HOOKS_FILE_FREE, .levels = kStrict,     \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .like = "l_file_free")            \
  HOOK(f_file_free, "fentry/security_file_free", .group = CTN_HOOKS_FILE_FREE,                     \
       .levels = kFallback, .when = When::kIfCalm, .standby = "k_file_free",                       \
       .fire = {open_and_close}, .better = {"l_file_free"},                                        \
       .skipped = "a file is counted until its place in memory is used again")                     \
  HOOK(k_file_free, "kprobe/security_file_free", .group = CTN_HOOKS_FILE_FREE,                     \
       .levels = kFallback, .when = When::kIfSkips, .fire = {open_and_close},                      \
       .batch = Batch::kKprobes, .better = {"l_file_free"})                                        \
  CTN_INNER_FILE(HOOK, file_noacct, "alloc_empty_file_noaccount", Batch::kNoaccount)               \
  CTN_INNER_FILE(HOOK, file_backing, "alloc_empty_backing_file", Batch::kBacking)                  \
  GATE(f_file_alloc, "fmod_ret/security_file_alloc", .group = CTN_HOOKS_FILE, .levels = kFallback, \
       .when = When::kIfCalm, .standby = "k_file_alloc", .fire = {open_and_close},                 \
       .better = kStrictFile,                                                                      \
       .skipped =                                                                                  \
           "an open passed its limit; it is counted where kprobes see it (`doctor` "               \
           "lists them)")                                                                          \
  HOOK(k_file_alloc, "kprobe/security_file_alloc", .group = CTN_HOOKS_FILE, .levels = kFallback,   \
       .when = When::kIfSkips, .fire = {open_and_close}, .batch = Batch::kKprobes,                 \
       .better = kStrictFile)                                                                      \
  CTN_THREE_GATES(COPY, file_alloc, "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, k_file_alloc,  \
                  f_file_alloc)                                                                    \
  GATE(l_file_alloc, "lsm/file_alloc_security", .group = CTN_HOOKS_FILE, .levels = kStrict,        \
       .when = When::kIfThere, .fire = {open_and_close}, .batch = Batch::kNone)                    \
  HOOK(l_inode_free, "lsm/inode_free_security", .group = CTN_HOOKS_FILE, .levels = kStrict,        \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {pipe_and_close},         \
       .better = kStrictFile)                                                                      \
  HOOK(k_file_init, "kprobe/file_init_path", .group = CTN_HOOKS_FILE, .levels = kGate,             \
       .when = When::kIfThere, .only_if = numfiles_gate_needs_init, .fire = {pipe_and_close},      \
       .batch = Batch::kKprobes, .better = kStrictFile)                                            \
  HOOK(k_dentry_open, "kprobe/do_dentry_open", .group = CTN_HOOKS_FILE, .levels = kFallback,       \
       .when = When::kIfSkips, .fire = {create_and_close}, .batch = Batch::kKprobes,               \
       .better = kStrictFile)                                                                      \
  GATE(l_sock_create, "lsm/socket_create", .group = CTN_HOOKS_FILE, .levels = kStrict,             \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {socket_and_close},       \
       .better = kStrictFile)                                                                      \
  GATE(l_inode_alloc, "lsm/inode_alloc_security", .group = CTN_HOOKS_FILE, .levels = kStrict,      \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {pipe_and_close},         \
       .better = kStrictFile)                                                                      \
  GATE(l_file_open, "lsm/file_open", .group = CTN_HOOKS_FILE, .levels = kStrict,                   \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {create_and_close},       \
       .better = kStrictFile)                                                                      \
  GATE(l_inode_create, "lsm/inode_create", .group = CTN_HOOKS_FILE, .levels = kStrict,             \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {create_and_close},       \
       .better = kStrictFile)                                                                      \
  GATE(l_perf_open, "lsm/perf_event_open", .group = CTN_HOOKS_FILE, .levels = kStrict,             \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {perf_and_close},         \
       .batch = Batch::kCalls, .better = kStrictFile)                                              \
  HOOK(r_special, "kretprobe/" CTN_SYSCALL(eventfd2), .group = CTN_HOOKS_FILE, .levels = kStrict,  \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {make_by_eventfd2},       \
       .batch = Batch::kKprobes, .better = kStrictFile, .skipped = CTN_RESERVE_SKIPPED)            \
  CTN_SPECIAL_RETURN(COPY, signalfd4, k_sigfd)                                                     \
  CTN_MORE_SPECIAL_FILES(CTN_SPECIAL_RETURN, COPY)                                                 \
  HOOK(k_special, "kprobe/" CTN_SYSCALL(eventfd2), .group = CTN_HOOKS_FILE, .levels = kStrict,     \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {make_by_eventfd2},       \
       .batch = Batch::kKprobes, .better = kStrictFile)                                            \
  HOOK(k_sigfd, "kprobe/" CTN_SYSCALL(signalfd4), .group = CTN_HOOKS_FILE, .levels = kStrict,      \
       .when = When::kIfThere, .only_if = numfiles_gate_is_open, .fire = {make_by_signalfd4},      \
       .batch = Batch::kKprobes, .better = kStrictFile)                                            \
  CTN_MORE_SPECIAL_FILES(CTN_SPECIAL_KPROBE, COPY)                                                 \
  CTN_SPECIAL_FILES(CTN_SPECIAL_GATE, GATE)                                                        \
  CTN_SPECIAL_FILES(CTN_SPECIAL_COPIES, COPY)

#endif
