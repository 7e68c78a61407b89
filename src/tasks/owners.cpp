#include "ctnbpf/owners.h"

#include <unistd.h>

#include "ctnbpf/membership.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/namespaces.h"

namespace ctnbpf {

Result<tree::Owner> this_owner(const Pins& pins) {
  CTN_ASSIGN(auto tasks, walk_tasks(pins, ::getpid()));
  if (tasks.empty())
    return Error{ESRCH, "this process is not among the tasks that the kernel shows"};
  return tree::Owner{tasks.front().global_tgid, tasks.front().start_ns};
}

bool Owners::gone(const ctn_info& info) const {
  if (!in_initial_pid_namespace()) return false;
  auto tasks = walk_tasks(pins_, static_cast<pid_t>(info.owner_pid));
  if (!tasks) return tasks.error().code == ESRCH;
  return tasks->empty() || tasks->front().start_ns != info.owner_start;
}

pid_t Owners::number(const ctn_info& info) {
  if (in_initial_pid_namespace()) return gone(info) ? 0 : static_cast<pid_t>(info.owner_pid);
  if (!seen_) {
    seen_.emplace();
    if (auto tasks = walk_tasks(pins_))
      for (const ctn_walk_task& task : *tasks) seen_->emplace(task.global_tid, task);
  }
  auto found = seen_->find(info.owner_pid);
  bool there = found != seen_->end() && found->second.start_ns == info.owner_start;
  return there ? static_cast<pid_t>(found->second.tid) : 0;
}

}  // namespace ctnbpf
