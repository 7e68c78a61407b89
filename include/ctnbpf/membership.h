/* Which task is in which container. */
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

/* Gives back what is still counted for tasks that are gone and whose freeing was missed, which can
 * happen below level strict; returns how many. Takes two walks over all tasks. */
Result<std::uint32_t> forget_gone(Writer& writer);

}  // namespace ctnbpf
