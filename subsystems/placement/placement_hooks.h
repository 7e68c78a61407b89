/* The hooks of what places tasks: moves to other control groups, and changes of a task's CPU mask. */
#ifndef CTNBPF_SUBSYSTEMS_PLACEMENT_HOOKS_H
#define CTNBPF_SUBSYSTEMS_PLACEMENT_HOOKS_H

#include "hook_rows.h"

#define CTN_MASK_GATE(COPY, name)                                                                  \
  COPY(name, "fmod_ret/security_task_setscheduler", .group = CTN_HOOKS_PLACE, .levels = kFallback, \
       .when = When::kIfSkips, .with = "k_setscheduler", .like = "f_setscheduler",                 \
       .skipped =                                                                                  \
           "another of the three programs refuses instead; who leaves its CPUs all the "           \
           "same is put back")

#define CTN_PLACEMENT_HOOKS(HOOK, GATE, COPY)                                                    \
  /* Needs a control group to write to: only attached. */                                        \
  HOOK(t_moved, "tp_btf/cgroup_attach_task", .group = CTN_HOOKS_PLACE, .levels = kAnyLevel,      \
       .when = When::kIfThere)                                                                   \
  HOOK(f_affinity, "fentry/sched_setaffinity", .group = CTN_HOOKS_PLACE, .levels = kGate,        \
       .when = When::kIfCalm, .standby = "k_affinity", .fire = {set_same_mask},                  \
       .skipped = "a member's change of its CPU mask was refused with EINVAL")                   \
  HOOK(k_affinity, "kprobe/sched_setaffinity", .group = CTN_HOOKS_PLACE, .levels = kGate,        \
       .when = When::kIfSkips, .fire = {set_same_mask}, .batch = Batch::kKprobes)                \
  GATE(l_setscheduler, "lsm/task_setscheduler", .group = CTN_HOOKS_PLACE, .levels = kStrict,     \
       .fire = {set_same_mask})                                                                  \
  GATE(f_setscheduler, "fmod_ret/security_task_setscheduler", .group = CTN_HOOKS_PLACE,          \
       .levels = kFallback, .when = When::kIfCalm, .standby = "k_setscheduler",                  \
       .fire = {set_same_mask}, .better = {"l_setscheduler"},                                    \
       .skipped = "a member may have left its CPUs; `fsck --repair` puts it back")               \
  HOOK(k_setscheduler, "kprobe/security_task_setscheduler", .group = CTN_HOOKS_PLACE,            \
       .levels = kFallback, .when = When::kIfSkips, .fire = {set_same_mask},                     \
       .batch = Batch::kKprobes, .better = {"l_setscheduler"})                                   \
  CTN_MASK_GATE(COPY, a_setscheduler)                                                            \
  CTN_MASK_GATE(COPY, b_setscheduler)                                                            \
  CTN_MASK_GATE(COPY, c_setscheduler)                                                            \
  HOOK(r_affinity, "kretprobe/sched_setaffinity", .group = CTN_HOOKS_PLACE, .levels = kFallback, \
       .when = When::kIfSkips, .fire = {set_same_mask}, .batch = Batch::kKprobes,                \
       .better = {"l_setscheduler"},                                                             \
       .skipped = "nobody noticed if a member left its CPUs; `fsck --repair` puts it back")

#endif
