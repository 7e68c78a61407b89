/* The hook of cpuacct. */
#ifndef CTNBPF_SUBSYSTEMS_CPUACCT_HOOKS_H
#define CTNBPF_SUBSYSTEMS_CPUACCT_HOOKS_H

#include "hook_rows.h"

#define CTN_CPUACCT_HOOKS(HOOK, GATE, COPY)                                             \
  HOOK(t_switch, "tp_btf/sched_switch", .group = CTN_HOOKS_SWITCH, .levels = kAnyLevel, \
       .fire = {live_and_die}, .skipped = "CPU time is charged at the next switch")

#endif
