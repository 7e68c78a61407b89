/* Moving tasks to a container. */
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct AttachResult {
  std::uint64_t tasks = 0; /* tasks that are in the target now */
  int passes = 0;          /* how often all tasks of the machine were looked at */
};

/* With kWithin an attach that would exceed a limit as things are when it begins is refused: EAGAIN,
 * with nothing changed. */
enum class Limits { kIgnore, kWithin };

/* Moves a process with all its threads (or one thread) into `slot`. A thread or child forked by a
 * task that has been moved is born in the target. ESRCH: gone or exiting. ENOSPC: no room for task records;
 * what was moved so far stays moved. */
Result<AttachResult> attach(Writer& writer, Slot slot, pid_t pid, bool one_thread,
                            Limits limits = Limits::kIgnore);

/* Moves a process and all its descendants: those there are, and those born meanwhile, whatever
 * becomes of their parents. A process whose parent ended before this looked at it is nobody's
 * descendant any more. ESRCH: `pid` is gone. EAGAIN: so many forks on this machine that some were not
 * told; all that were found are moved. */
Result<AttachResult> attach_tree(Writer& writer, Slot slot, pid_t pid,
                                 Limits limits = Limits::kIgnore);

}  // namespace ctnbpf
