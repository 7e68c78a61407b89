/* Which task is in which container, as the kernel's iterators show it. */
#include "tree/members.h"

#include <fmt/format.h>

#include "ctnbpf/membership.h"
#include "kernel/iterators.h"

namespace ctnbpf {

Result<std::vector<ctn_walk_task>> walk_tasks(const Pins& pins, pid_t tid) {
  auto tasks = run_iterator_as<ctn_walk_task>(pins, "i_walk", tid);
  if (!tasks && tasks.error().code == ENOENT && !pins.exist())
    return Error{ENOENT,
                 fmt::format("not up (nothing is pinned in {}): run `ctnbpf up`", pins.root())};
  return tasks;
}

std::map<std::uint32_t, const ctn_walk_task*> live_processes(
    const std::vector<ctn_walk_task>& tasks) {
  std::map<std::uint32_t, const ctn_walk_task*> found;
  for (const ctn_walk_task& task : tasks) {
    if (has_exited(task)) continue;
    const ctn_walk_task*& speaker = found[task.tgid];
    if (speaker == nullptr || task.tid == task.tgid) speaker = &task;
  }
  return found;
}

Result<ctn_walk_task> live_task(const Pins& pins, pid_t pid) {
  auto tasks = walk_tasks(pins, pid);
  if ((!tasks && tasks.error().code == ESRCH) || (tasks && tasks->empty()))
    return Error{ESRCH, fmt::format("no process or thread {}", pid)};
  if (!tasks) return tasks.error();
  if (!has_exited(tasks->front())) return tasks->front();
  CTN_ASSIGN(auto all, walk_tasks(pins));
  auto processes = live_processes(all);
  if (auto found = processes.find(static_cast<std::uint32_t>(pid)); found != processes.end())
    return *found->second;
  return Error{ESRCH, fmt::format("process {} has exited (a zombie is in no container)", pid)};
}

Slot container_of(const ctn_walk_task& task, std::uint32_t hierarchy) {
  Slot slot = task.slot[hierarchy] & ~CTN_EXITED;
  return slot < CTN_MAX_HIER ? hierarchy : slot;
}

bool has_exited(const ctn_walk_task& task) { return task.exit_state != 0; }

Result<void> mark_tasks(Writer& writer) {
  /* 8 bits in a record, where 0 is none. */
  std::uint32_t last = writer.core().walk_mark;
  store(writer.core().walk_mark, last >= CTN_LAST_MARK ? 1 : last + 1);
  CTN_TRY(run_iterator(writer.pins(), "i_mark", 0));
  return {};
}

}  // namespace ctnbpf
