/* The affinity driver: system calls on one task. ESRCH (it is gone) is no error to the callers. */
#pragma once

#include <sys/types.h>

#include <optional>

#include "ctnbpf/result.h"
#include "placement/index_set.h"

namespace ctnbpf::affinity {

/* Sets the CPU mask of a thread; what of it the kernel does not grant is left out. */
Result<void> set_mask(pid_t tid, const IndexSet& set);
/* Of the thread's mask what is online. Empty: it sleeps, and nothing is; none: it is gone. */
std::optional<IndexSet> online_mask(pid_t tid);
/* Likewise; empty if it is gone. */
IndexSet mask_of_thread(pid_t tid);

/* Moves the pages of a process to `nodes`. */
Result<void> move_pages(pid_t pid, const IndexSet& nodes);
/* All that this thread allocates from now on, and those it forks, comes from `nodes`. */
Result<void> bind_memory(const IndexSet& nodes);

}  // namespace ctnbpf::affinity
