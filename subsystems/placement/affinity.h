/* The affinity driver: system calls on one task. ESRCH (it is gone) is no error to the callers. */
#pragma once

#include <sys/types.h>

#include "ctnbpf/result.h"
#include "placement/index_set.h"

namespace ctnbpf::affinity {

enum class Fit {
  kExact,  /* the mask is to be the whole set */
  kInside, /* what it has of the set already is its own choice */
};

/* Confines the CPU mask of a thread to `set`, of which `online` can be had. True if it had to be
 * changed. */
Result<bool> confine(pid_t tid, const IndexSet& set, const IndexSet& online, Fit fit);
/* Of the thread's mask what is online; empty if it is gone. */
IndexSet mask_of_thread(pid_t tid);

/* Moves the pages of a process to `nodes`. */
Result<void> move_pages(pid_t pid, const IndexSet& nodes);
/* All that this thread allocates from now on, and those it forks, comes from `nodes`. */
Result<void> bind_memory(const IndexSet& nodes);

}  // namespace ctnbpf::affinity
