/* cpuacct: the records a container has in this subsystem, shared by BPF and the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_CPUACCT_H
#define CTNBPF_SUBSYSTEMS_CPUACCT_H

#include "ctnbpf/abi.h"

/* Subsystem number; the registry in subsystems/registry.cpp and the hooks agree on it. */
#define CTN_CPUACCT 3

/* The load is measured over windows of this length (ns), which begin at its multiples on the
 * scheduler's clock of each CPU. */
#define CPUACCT_WINDOW 10000000000ULL

/* Slices by length: number 0 holds those under 2^14 ns (16 us), each next one twice that, the last
 * one all from 2^21 ns (2.1 ms) on. */
#define CPUACCT_BUCKETS 9
#define CPUACCT_FIRST_BITS 14

/* One per slot and possible CPU, number slot * core.cpus + cpu: what tasks of this very container
 * used on this CPU, up to their last switch. Those of roots stay zero: the kernel itself counts the
 * time of all tasks. */
struct cpuacct_cell {
  __u64 usage; /* ns */
  __u64 wait;  /* ns runnable before they ran, in steps of 1024 */
  /* Ticks that found it in the kernel, and outside, as the time between two; in steps of 1024 ns.
   * Ticks can get lost, so only how the two compare is of use: `usage` is split by it. */
  __u64 system;
  __u64 user;
  /* The load: `usage` when the present window began, that window's end, and what was used in the one
   * before it. Brought up to date by the first charge after a window's end. */
  __u64 mark;
  __u64 window_end;
  __u64 last_window;             /* ns */
  __u64 slices[CPUACCT_BUCKETS]; /* switches away from a task, by the length of the slice */
};

/* One per slot, written by the control plane under the writer lock: what removed children used, and
 * all that was below them, so that the total of a container never goes down. A child is folded in
 * when its slot is freed: `next` and `folding` say what is to be done, so that whoever finds it half
 * done does it again to the same end. */
struct cpuacct_state {
  __u64 removed; /* ns */
  __u64 next;    /* `removed` after the fold */
  __u64 epoch;   /* of a root: created_ns of the hierarchy all this is about */
  __u32 folding; /* slot being folded in, or 0 */
  __u32 folds;   /* of a root: odd while a fold is under way in its hierarchy */
};

/* What a look at a CPU found; one per CPU, for whoever asked last. `busy` is held by the program
 * while it writes, `looks` counts the looks that are complete. */
struct cpuacct_look {
  __u32 busy;
  __u32 looks;
  __u32 slot;    /* container of the task that runs there; 0: of a root, idle, or CPU offline */
  __u32 timed;   /* `now` is known */
  __u64 now;     /* the CPU's task clock */
  __u64 running; /* ns of the running task that its container's cell does not have */
  __u64 running_system;
  __u64 running_user;
  __u64 machine;            /* ns all tasks ever used on this CPU */
  __s64 clock;              /* CLOCK_MONOTONIC less the scheduler's clock, or a little more */
  struct cpuacct_cell cell; /* of `slot` on this CPU at that moment */
};

/* A charge that ends at `now` and is `ran` long comes to a cell whose usage was `before`, and the
 * cell's window is over: the slice may reach back over its end, or over several. Shared by the
 * program for switches and the readers, who add the running slice to their copy. */
static inline __attribute__((always_inline)) void cpuacct_turn_window(struct cpuacct_cell *cell,
                                                                      __u64 now, __u64 ran,
                                                                      __u64 before) {
  __u64 start = now - now % CPUACCT_WINDOW, began = now - ran;
  __u64 mark = cell->mark, at_start = before + (start > began ? start - began : 0);
  __u64 end = __sync_lock_test_and_set(&cell->window_end, 0); /* until the words fit again */
  if (end != start) /* longer ago: what the last window has is part of this slice */
    mark = before + (start - CPUACCT_WINDOW > began ? start - CPUACCT_WINDOW - began : 0);
  cell->last_window = at_start - mark;
  cell->mark = at_start;
  __sync_lock_test_and_set(&cell->window_end, start + CPUACCT_WINDOW);
}

CTN_ASSERT(sizeof(struct cpuacct_cell) == 128, "two cache lines a CPU");
CTN_ASSERT(sizeof(struct cpuacct_state) == 32, "two records a cache line");
CTN_ASSERT(sizeof(struct cpuacct_look) == 192, "whole cache lines");

#endif
