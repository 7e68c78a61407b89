/* Which task is in which container, and moving tasks. */
#pragma once

#include <sys/types.h>

#include <map>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Every task (or the one with this tid) with its membership, as the kernel's task iterator shows
 * them, ascending by tid: those that this pid namespace knows, by their numbers in it. Zombies are included and
 * say so. ESRCH: no such tid. */
Result<std::vector<ctn_walk_task>> walk_tasks(const Pins& pins, pid_t tid = 0);

/* The task that speaks for `pid`: itself, or, for a process whose first thread has exited while others live, the
 * first of those. ESRCH: there is none. */
Result<ctn_walk_task> live_task(const Pins& pins, pid_t pid);
/* The same in a walk over all tasks, for each process. */
std::map<std::uint32_t, const ctn_walk_task*> live_processes(
    const std::vector<ctn_walk_task>& tasks);

/* The container a walked task is in; the root if it never was elsewhere. */
Slot container_of(const ctn_walk_task& task, std::uint32_t hierarchy);
/* Has it left its containers by exiting? */
bool has_exited(const ctn_walk_task& task);

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

/* Gives back what is still counted for tasks that are gone and whose freeing was missed, which can
 * happen below level strict; returns how many. Takes two walks over all tasks. */
Result<std::uint32_t> forget_gone(Writer& writer);

}  // namespace ctnbpf
