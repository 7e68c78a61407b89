#include "placement/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "placement/effective.h"

namespace ctnbpf::placement {
namespace {

constexpr int kExactPasses = 4;
constexpr int kMostPasses = 50; /* for a task that never fits: someone else sets it back */

}  // namespace

Work::Work(const Writer& writer, bool may_move)
    : state_(writer), may_move_(may_move), cpus_online_(kCpus.online()) {}

Result<Work> Work::begin(Writer& writer, bool may_move, bool free) {
  Work work(writer, may_move);
  work.free_ = free;
  CTN_ASSIGN(work.moves_, writer.array<std::uint32_t>("moves", 1));
  CTN_ASSIGN(work.placer_, Placer::open(writer));
  for (auto [version, groups] :
       {std::pair{Groups::Version::kV2, &work.v2_}, {Groups::Version::kV1, &work.v1_}})
    if (auto found = Groups::open(version, writer)) *groups = std::move(*found);
  return work;
}

Result<void> Work::place(const Chosen& chosen, affinity::Fit fit, const Chosen& freed) {
  Result<void> result;
  auto note = [&](const Error& error) {
    if (result && error.code != ESRCH) result = error;
  };
  for (int pass = 0;; pass++) {
    changed_ = false;
    std::uint64_t strayed = load(state_.core().misses[CTN_MISS_STRAYED]);
    CTN_ASSIGN(auto tasks, walk_tasks(state_.pins()));
    std::map<std::uint32_t, Process> processes;
    std::set<std::uint32_t> touched;
    for (const ctn_walk_task& task : tasks) {
      /* A kernel thread may have been bound to its CPU after it was born into a container. */
      if (has_exited(task) || (task.kernel_thread & CTN_KTHREAD_BOUND) != 0) continue;
      processes[task.tgid].push_back(&task);
      if (chosen(task)) touched.insert(task.tgid);
    }
    for (std::uint32_t pid : touched) {
      const Process& process = processes[pid];
      auto grouped = by_group(process);
      if (grouped && *grouped) continue;
      if (!grouped && !automatic(process)) note(grouped.error());
      for (const ctn_walk_task* task : process) {
        if (!chosen(*task)) continue;
        /* A child born during the first passes may have the mask its forker had before. From then on
         * all inherit what they should, and what one chooses itself inside of the set is left alone. */
        bool fresh = seen_.insert(task->tid).second && pass < kExactPasses;
        if (auto done = by_affinity(*task, fresh ? fit : affinity::Fit::kInside, fresh, freed);
            !done)
          note(done.error());
      }
    }
    /* A fork that began before this is looked at by t_newtask when it ends. */
    __atomic_fetch_add(&moves_[0], 1, __ATOMIC_SEQ_CST);
    changed_ = changed_ || strayed != load(state_.core().misses[CTN_MISS_STRAYED]);
    if (!changed_ || pass == kMostPasses) return result;
  }
}

bool Work::automatic(const Process& process) const {
  return std::all_of(process.begin(), process.end(),
                     [&](const ctn_walk_task* task) { return of(*task).automatic(); });
}

bool Work::grouped(const ctn_walk_task& task) const {
  auto tid = static_cast<pid_t>(task.tid);
  return (v2_ && v2_->group_of(tid)) || (v1_ && v1_->group_of(tid));
}

Result<bool> Work::by_group(const Process& process) {
  std::uint32_t driver = 0;
  for (const ctn_walk_task* task : process) driver |= of(*task).driver();
  const std::optional<Groups>& groups = (driver & PLACE_CGROUP1) != 0 ? v1_ : v2_;
  auto pid = static_cast<pid_t>(process.front()->tgid);
  if (driver == 0) return take_out(pid);
  if (!groups)
    return Error{ENOTSUP,
                 "the cpuset controller this hierarchy was made with is not mounted any more"};

  std::vector<std::string> now; /* empty: outside of all homes */
  std::string home;
  for (const ctn_walk_task* task : process) {
    now.push_back(groups->group_of(static_cast<pid_t>(task->tid)).value_or(""));
    std::string its = Groups::home_of(now.back());
    if (its.empty())
      now.back().clear();
    else
      home = its;
  }
  bool outside =
      std::any_of(now.begin(), now.end(), [](const std::string& group) { return group.empty(); });
  if (outside) {
    if (!may_move_ && !groups->kept_by(pid).empty()) return false;
    if (home.empty()) {
      CTN_ASSIGN(home, groups->make_home(pid));
    }
  }
  for (std::size_t i = 0; i < process.size(); i++) {
    Placing to = of(*process[i]);
    bool confined = to.confined();
    std::string group = confined ? home + "/" + to.group() : home;
    if (confined) CTN_TRY(set_up(*groups, group, to));
    if (now[i] == group) continue;
    changed_ = true;
    if (outside && confined) {
      CTN_TRY(groups->put_process(group, pid));
      std::fill(now.begin(), now.end(), group);
      outside = false;
    } else if (!outside) {
      CTN_TRY(groups->put_thread(group, static_cast<pid_t>(process[i]->tid)));
    }
  }
  return true;
}

Result<void> Work::set_up(const Groups& groups, const std::string& group, const Placing& to) {
  if (!set_up_.insert(group).second) return {};
  return groups.set(group, to.group_cpus(), to.group_mems(), to.mems.migrate);
}

/* The kernel gives it all CPUs again; a mask of its own choice is its own again. */
Result<bool> Work::take_out(pid_t pid) {
  bool any = false;
  for (const std::optional<Groups>* groups : {&v2_, &v1_}) {
    if (!*groups || !(*groups)->group_of(pid)) continue;
    CTN_TRY((*groups)->take_out(pid));
    changed_ = any = true;
  }
  return any;
}

Error Work::with_owner(const Error& error, pid_t tid, const IndexSet& cpus) const {
  const std::optional<Groups>& groups = v2_ ? v2_ : v1_;
  if (error.code != EINVAL || !groups) return error;
  IndexSet missing = (cpus & cpus_online_).without(groups->granted(kCpus, groups->path_of(tid)));
  std::string who = missing.empty() ? "" : who_has(*groups, kCpus, missing);
  return who.empty() ? error : Error{EBUSY, fmt::format("{}: {}", error.what, who)};
}

Result<void> Work::by_affinity(const ctn_walk_task& task, affinity::Fit fit, bool fresh,
                               const Chosen& freed) {
  Placing to = of(task);
  auto tid = static_cast<pid_t>(task.tid);
  if (to.cpus.confined || (fresh && freed(task))) {
    auto done =
        affinity::confine(tid, to.cpus.confined ? to.cpus.set : kCpus.all(), cpus_online_, fit);
    if (!done) return with_owner(done.error(), tid, to.cpus.set);
    changed_ = changed_ || *done;
  }
  if (to.mems.confined && to.mems.migrate && fresh && task.tid == task.tgid)
    CTN_TRY(affinity::move_pages(tid, to.mems.set));
  return {};
}

}  // namespace ctnbpf::placement
