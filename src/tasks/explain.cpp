#include "ctnbpf/explain.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"

namespace ctnbpf {
namespace {

std::uint64_t room(std::uint64_t used, std::uint64_t most) { return most - std::min(used, most); }

std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

void add_kernel(std::vector<BoundLine>& lines, const std::string& what, const std::string& on,
                std::uint64_t used, std::optional<std::uint64_t> most) {
  if (most) lines.push_back({"tasks", what, on, used, *most, room(used, *most)});
}

/* pids.max of the task's control group and of those above: "max" is no number and no bound. */
void add_cgroups(std::vector<BoundLine>& lines, std::uint32_t pid) {
  std::ifstream file(fmt::format("{}/{}/cgroup", proc_root(), pid));
  for (std::string line; std::getline(file, line);) {
    std::size_t first = line.find(':');
    std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find(",pids,") == std::string::npos) continue;
    for (std::filesystem::path group = line.substr(second + 1); group.has_relative_path();
         group = group.parent_path())
      for (const char* mount :
           {"/sys/fs/cgroup", unified ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup/pids"}) {
        std::string at = mount + group.string();
        if (auto used = number_in(at + "/pids.current"))
          add_kernel(lines, "pids.max", "cgroup " + group.string(), *used,
                     number_in(at + "/pids.max"));
      }
  }
}

/* Of capabilities in effect. */
std::uint64_t capabilities_of(std::uint32_t tid) {
  std::string text = status_text(static_cast<pid_t>(tid), "CapEff:");
  return std::strtoull(text.c_str(), nullptr, 16);
}

constexpr std::uint64_t kAdmin = 1ULL << CAP_SYS_ADMIN;

/* Soft limit on the tasks of the task's user; root and the capable are exempt. */
void add_rlimit(std::vector<BoundLine>& lines, const ctn_walk_task& task,
                const std::vector<ctn_walk_task>& all) {
  rlimit limit = {};
  /* What the user has outside of a pid namespace cannot be counted from in there. */
  if (!in_initial_pid_namespace() || task.uid == 0 ||
      ::prlimit(static_cast<pid_t>(task.tgid), RLIMIT_NPROC, nullptr, &limit) != 0)
    return;
  if (limit.rlim_cur == RLIM_INFINITY) return;
  if ((capabilities_of(task.tid) & (kAdmin | 1ULL << CAP_SYS_RESOURCE)) != 0) return;
  auto used = static_cast<std::uint64_t>(std::count_if(
      all.begin(), all.end(), [&](const ctn_walk_task& one) { return one.uid == task.uid; }));
  add_kernel(lines, "RLIMIT_NPROC", fmt::format("uid {}", task.uid), used, limit.rlim_cur);
}

Result<void> add_own(std::vector<BoundLine>& lines, const State& state, const ctn_walk_task& task) {
  bool admin = (capabilities_of(task.tid) & kAdmin) != 0;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    Slot slot = container_of(task, h);
    if (slot >= state.nodes().size()) continue;
    for (const Subsystem* subsystem : bound_subsystems(state, h)) {
      if (subsystem->bounds == nullptr) continue;
      CTN_ASSIGN(auto bounds, subsystem->bounds(state, slot));
      for (const Bound& one : bounds)
        if (!admin || !one.spares_admin)
          lines.push_back({one.resource, one.what, tree::address_of(state, one.on), one.used,
                           one.most, one.left});
    }
  }
  return {};
}

/* The fourth figure of /proc/loadavg is "running/all"; a walk shows those of our pid namespace. */
std::uint64_t machine_tasks(const std::vector<ctn_walk_task>& all) {
  if (in_initial_pid_namespace()) return all.size();
  std::ifstream file("/proc/loadavg");
  std::string word;
  for (int i = 0; i < 4; i++) file >> word;
  return std::strtoull(word.c_str() + std::min(word.find('/') + 1, word.size()), nullptr, 10);
}

}  // namespace

Result<Explanation> explain(const State& state, pid_t pid) {
  CTN_ASSIGN(auto all, walk_tasks(state.pins()));
  CTN_ASSIGN(ctn_walk_task task, live_task(state.pins(), pid));
  Explanation found = {task.tgid,
                       static_cast<std::uint32_t>(pid),
                       {task.comm, ::strnlen(task.comm, sizeof(task.comm))},
                       {}};
  std::vector<BoundLine>& lines = found.bounds;
  CTN_TRY(add_own(lines, state, task));
  add_cgroups(lines, task.tid);
  add_rlimit(lines, task, all);
  std::uint64_t tasks = machine_tasks(all);
  add_kernel(lines, "threads-max", "the machine", tasks, number_in("/proc/sys/kernel/threads-max"));
  add_kernel(lines, "pid_max", "the machine", tasks, number_in("/proc/sys/kernel/pid_max"));
  return found;
}

}  // namespace ctnbpf
