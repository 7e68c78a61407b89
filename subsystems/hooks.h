/* The tables of hooks, in the order in which their programs are attached: a task's life last, as it gives records
 * to the others. */
#ifndef CTNBPF_SUBSYSTEMS_HOOKS_H
#define CTNBPF_SUBSYSTEMS_HOOKS_H

#include "cpuacct/cpuacct_hooks.h"
#include "numfiles/numfiles_hooks.h"
#include "placement/placement_hooks.h"
#include "task_hooks.h"

#define CTN_HOOKS(HOOK, GATE, COPY)     \
  CTN_NUMFILES_HOOKS(HOOK, GATE, COPY)  \
  CTN_PLACEMENT_HOOKS(HOOK, GATE, COPY) \
  CTN_CPUACCT_HOOKS(HOOK, GATE, COPY)   \
  CTN_TASK_HOOKS(HOOK, GATE, COPY)

#endif
