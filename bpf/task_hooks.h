/* The hooks of a task's life, which every hierarchy in use needs. */
#ifndef CTNBPF_BPF_TASK_HOOKS_H
#define CTNBPF_BPF_TASK_HOOKS_H

#include "hook_rows.h"

#define CTN_SEEN_FREED "another program sees the task freed, or `fsck --repair` does"

#define CTN_TASK_HOOKS(HOOK, GATE, COPY)                                                           \
  HOOK(l_task_free, "lsm/task_free", .group = CTN_HOOKS_TASK, .levels = kStrict,                   \
       .fire = {live_and_die, Fire::kLate})                                                        \
  HOOK(f_task_free, "fentry/security_task_free", .group = CTN_HOOKS_TASK, .levels = kFallback,     \
       .fire = {live_and_die, Fire::kLate}, .better = kStrictTask, .skipped = CTN_SEEN_FREED)      \
  HOOK(k_task_free, "kprobe/security_task_free", .group = CTN_HOOKS_TASK, .levels = kFallback,     \
       .when = When::kIfSkips, .fire = {live_and_die, Fire::kLate}, .batch = Batch::kKprobes,      \
       .better = kStrictTask)                                                                      \
  HOOK(t_task_free, "tp_btf/sched_process_free", .group = CTN_HOOKS_TASK,                          \
       .levels = kFallback | kAccounting, .fire = {live_and_die, Fire::kLate},                     \
       .better = kStrictTask, .skipped = CTN_SEEN_FREED)                                           \
  HOOK(t_exit, "tp_btf/sched_process_exit", .group = CTN_HOOKS_TASK, .levels = kAnyLevel,          \
       .when = When::kIfCalm, .standby = "p_exit", .fire = {live_and_die},                         \
       .skipped = "a task counts as live until it is freed")                                       \
  HOOK(p_exit, "tp/sched/sched_process_exit", .group = CTN_HOOKS_TASK, .levels = kAnyLevel,        \
       .when = When::kIfSkips, .fire = {live_and_die}, .batch = Batch::kKprobes)                   \
  HOOK(f_release, "fentry/release_task", .group = CTN_HOOKS_REAP, .levels = kAnyLevel,             \
       .when = When::kIfCalm, .standby = "k_release", .fire = {live_and_die},                      \
       .skipped = "a task is counted until it is freed, some 30 ms longer")                        \
  HOOK(k_release, "kprobe/release_task", .group = CTN_HOOKS_REAP, .levels = kAnyLevel,             \
       .when = When::kIfSkips, .fire = {live_and_die}, .batch = Batch::kKprobes)                   \
  HOOK(t_newtask, "tp_btf/task_newtask", .group = CTN_HOOKS_TASK, .levels = kAnyLevel,             \
       .when = When::kIfCalm, .standby = "k_newtask", .fire = {live_and_die},                      \
       .skipped = "a child that was forked during an attach may not be where its parent is")       \
  HOOK(k_newtask, "kprobe/wake_up_new_task", .group = CTN_HOOKS_TASK, .levels = kAnyLevel,         \
       .when = When::kIfSkips, .fire = {live_and_die}, .batch = Batch::kKprobes)                   \
  GATE(f_task_alloc, "fmod_ret/security_task_alloc", .group = CTN_HOOKS_TASK, .levels = kFallback, \
       .when = When::kIfCalm, .standby = "k_task_alloc", .fire = {live_and_die},                   \
       .better = kStrictTask,                                                                      \
       .skipped = "a fork passed its limit; the child is a member and is counted")                 \
  HOOK(k_task_alloc, "kprobe/security_task_alloc", .group = CTN_HOOKS_TASK, .levels = kFallback,   \
       .when = When::kIfSkips, .fire = {live_and_die}, .batch = Batch::kKprobes,                   \
       .better = kStrictTask)                                                                      \
  CTN_THREE_GATES(COPY, task_alloc, "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, k_task_alloc,  \
                  f_task_alloc)                                                                    \
  GATE(l_task_alloc, "lsm/task_alloc", .group = CTN_HOOKS_TASK, .levels = kStrict,                 \
       .fire = {live_and_die})

#endif
