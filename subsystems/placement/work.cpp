#include "placement/work.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "kernel/iterators.h"
#include "ctnbpf/membership.h"
#include "placement/effective.h"
#include "placement/place.h"
#include "tasks/moves.h"

namespace ctnbpf::placement {
namespace {

constexpr int kExactPasses = 4;
constexpr int kTries = 100; /* of a mask that our own hook refuses */
constexpr auto kLongestCall = std::chrono::seconds(2);
constexpr int kMostPasses = 50; /* for a task that never fits: someone else sets it back */

}  // namespace

Work::Work(Writer& writer, bool may_move)
    : writer_(writer), state_(writer), may_move_(may_move), cpus_online_(kCpus.online()) {}

Result<Work> Work::begin(Writer& writer, bool may_move, bool free) {
  Work work(writer, may_move);
  work.free_ = free;
  CTN_ASSIGN(work.moves_, writer.array<std::uint32_t>("moves", 1));
  CTN_ASSIGN(work.placer_, Placer::open(writer));
  if (std::uint32_t hierarchy = hierarchy_of(writer, kCpus); hierarchy != CTN_MAX_HIER) {
    CTN_ASSIGN(work.earlier_, Earlier::open(writer));
    CTN_ASSIGN(Sets sets, Sets::open(writer, kCpus));
    work.cpus_before_ = sets.in_force(hierarchy);
  }
  for (auto [version, groups] :
       {std::pair{Groups::Version::kV2, &work.v2_}, {Groups::Version::kV1, &work.v1_}})
    if (auto found = Groups::open(version, writer)) *groups = std::move(*found);
  return work;
}

Result<void> Work::wait_for_setters() {
  if (!earlier_ || load(state_.core().level[CTN_HOOKS_PLACE]) < CTN_LEVEL_FALLBACK) return {};
  CTN_ASSIGN(auto turn, writer_.array<std::uint32_t>("affinity_turn", 1));
  __atomic_fetch_add(&turn[0], 1, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST); /* before calls are looked at: see cpuset_take_mask() */
  /* The call is a few microseconds of work, in which its task may be preempted and wait for a CPU. */
  auto deadline = std::chrono::steady_clock::now() + kLongestCall;
  for (;;) {
    CTN_ASSIGN(auto setting, run_iterator_as<std::uint32_t>(state_.pins(), "i_setting", 0));
    if (setting.empty() || std::chrono::steady_clock::now() > deadline) return {};
    ::sched_yield();
  }
}

std::vector<std::uint32_t> Work::in_order(const std::set<std::uint32_t>& touched,
                                          const std::map<std::uint32_t, Process>& processes) const {
  std::vector<std::uint32_t> out(touched.begin(), touched.end());
  std::stable_partition(out.begin(), out.end(), [&](std::uint32_t pid) {
    const Process& process = processes.at(pid);
    return std::any_of(process.begin(), process.end(), [](const ctn_walk_task* task) {
      return (::sched_getscheduler(static_cast<pid_t>(task->tid)) & ~SCHED_RESET_ON_FORK) ==
             SCHED_DEADLINE;
    });
  });
  return out;
}

Result<void> Work::place(const Chosen& chosen, Fit fit, OnError on_error) {
  Result<void> result;
  CTN_TRY(wait_for_setters());
  auto note = [&](const Result<void>& done) {
    if (result && !done) result = done;
  };
  for (int pass = 0;; pass++) {
    changed_ = false;
    std::uint64_t strayed = load(state_.core().misses[CTN_MISS_STRAYED]);
    if (earlier_) CTN_TRY(earlier_->remember());
    CTN_ASSIGN(auto tasks, walk_tasks(state_.pins()));
    std::map<std::uint32_t, Process> processes;
    std::set<std::uint32_t> touched;
    for (const ctn_walk_task& task : tasks) {
      /* A kernel thread may have been bound to its CPU after it was born into a container. */
      if (has_exited(task) || (task.kernel_thread & CTN_KTHREAD_BOUND) != 0) continue;
      processes[task.tgid].push_back(&task);
      if (chosen(task) || came_out(task)) touched.insert(task.tgid);
    }
    for (std::uint32_t pid : in_order(touched, processes)) {
      note(place_process(processes[pid], chosen, fit, pass));
      if (!result && on_error == OnError::kStop) break;
    }
    if (earlier_) note(earlier_->forget(given_back_));
    given_back_.clear();
    if (!result && on_error == OnError::kStop) return result;
    /* A fork that began before this is looked at by t_newtask when it ends. */
    __atomic_fetch_add(&moves_[0], 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    changed_ = changed_ || strayed != load(state_.core().misses[CTN_MISS_STRAYED]);
    if (!changed_ || pass == kMostPasses) return result;
  }
}

bool Work::automatic(const Process& process) const {
  return std::all_of(process.begin(), process.end(),
                     [&](const ctn_walk_task* task) { return of(*task).automatic(); });
}

Result<void> Work::place_process(const Process& process, const Chosen& chosen, Fit fit, int pass) {
  Result<void> result;
  auto note = [&](const Error& error) {
    if (result && error.code != ESRCH) result = error;
  };
  /* Who changes the group loses its mask on kernels before 6.2: also threads that are not to be confined. */
  std::vector<std::optional<IndexSet>> before;
  for (const ctn_walk_task* task : process)
    before.push_back(affinity::online_mask(static_cast<pid_t>(task->tid)));
  auto grouped = by_group(process);
  if (!grouped && !automatic(process)) note(grouped.error());
  if (grouped && *grouped) CTN_TRY(tell_hook_of_groups(writer_));
  for (std::size_t i = 0; i < process.size(); i++) {
    const ctn_walk_task& task = *process[i];
    Placing to = of(task);
    if (came_out(task)) {
      if (auto done = give_back(task); !done) note(done.error());
      continue;
    }
    /* A child born during the first passes may have the mask its forker had before. From then on
     * all inherit what they should, and what one chooses itself inside of the set is left alone. */
    bool fresh = chosen(task) && seen_.insert(task.tid).second && pass < kExactPasses;
    bool in_group = grouped && *grouped;
    if (!in_group && !chosen(task) && !to.cpus.confined && before[i] &&
        affinity::online_mask(static_cast<pid_t>(task.tid)) == before[i])
      continue;
    if (auto done = fit_mask(task, to, in_group, fit, fresh, before[i]); !done)
      note(in_group ? done.error()
                    : with_owner(done.error(), static_cast<pid_t>(task.tid), to.cpus.set));
    /* Pages are the process's: once. */
    if (!in_group && to.mems.confined && to.mems.migrate && fresh && i == 0)
      if (auto done = affinity::move_pages(static_cast<pid_t>(task.tid), to.mems.set); !done)
        note(done.error());
  }
  return result;
}

bool Work::is_whole(const IndexSet& mask, const IndexSet& placed) const {
  return mask == (placed & cpus_online_) || mask == (placed & cpus_before_);
}

/* The hook refuses also where it could not see the mask: who else sets masks can have that effect. */
Result<void> Work::set_mask(pid_t tid, const IndexSet& set, const std::optional<IndexSet>& before) {
  if (before) were_.emplace(tid, *before);
  auto done = affinity::set_mask(tid, set);
  for (int again = 0; again < kTries && !done && done.error().code == EINVAL; again++)
    done = affinity::set_mask(tid, set);
  return done;
}

void Work::put_back() {
  for (const auto& [tid, mask] : were_)
    if (!mask.empty()) (void)affinity::set_mask(tid, mask);
  were_.clear();
}

Result<void> Work::fit_mask(const ctn_walk_task& task, const Placing& to, bool in_group, Fit fit,
                            bool fresh, const std::optional<IndexSet>& before) {
  auto tid = static_cast<pid_t>(task.tid);
  std::optional<IndexSet> now = affinity::online_mask(tid);
  if (!now || !before) return {};
  if (!to.cpus.confined)
    return before->empty() || *now == *before ? Result<void>() : set_mask(tid, *before, now);
  IndexSet all = to.cpus.set & cpus_online_;
  if (fresh && (fit == Fit::kWhole || to.cpus.placed == everything())) {
    /* Told that all are wanted, a kernel that keeps what was asked for (6.2 and later) makes the mask all
     * of whatever the group has, from now on. */
    if (*now == all && !in_group) return {};
    CTN_TRY(set_mask(tid, in_group ? everything() : to.cpus.set, now));
    changed_ = changed_ || *now != all;
    return {};
  }
  if (in_group) {
    bool own =
        !before->empty() && before->within(to.cpus.set) && !is_whole(*before, to.cpus.placed);
    return own && *now != *before ? set_mask(tid, *before, now) : Result<void>();
  }
  bool inside =
      !now->empty() && now->within(to.cpus.set); /* one that sleeps can have none online */
  if (inside && !(fresh && is_whole(*now, to.cpus.placed) && *now != all)) return {};
  CTN_TRY(set_mask(tid, to.cpus.set, now));
  changed_ = true;
  return {};
}

Result<void> Work::give_back(const ctn_walk_task& task) {
  auto tid = static_cast<pid_t>(task.tid);
  IndexSet mask = earlier_ ? earlier_->mask(task.came_with).value_or(everything()) : everything();
  auto now = affinity::online_mask(tid);
  auto done = set_mask(tid, mask, now);
  /* Nothing of it can be had any more. */
  if (!done && done.error().code == EINVAL) done = set_mask(tid, everything(), now);
  CTN_TRY(done);
  given_back_.push_back(tid);
  changed_ = true; /* whom it forked meanwhile is found by the next pass */
  return {};
}

bool Work::grouped(const ctn_walk_task& task) const {
  auto tid = static_cast<pid_t>(task.tid);
  return (v2_ && v2_->group_of(tid)) || (v1_ && v1_->group_of(tid));
}

Result<bool> Work::by_group(const Process& process) {
  std::uint32_t driver = 0;
  for (const ctn_walk_task* task : process) driver |= of(*task).driver();
  const std::optional<Groups>& groups = (driver & PLACE_CGROUP1) != 0 ? v1_ : v2_;
  /* A thread stands for its process: the first one may have exited, and is then in no group's list. */
  auto pid = static_cast<pid_t>(process.front()->tid);
  if (driver == 0) {
    CTN_TRY(take_out(pid));
    return false;
  }
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
  std::vector<std::string> wanted;
  for (const ctn_walk_task* task : process) {
    Placing to = of(*task);
    wanted.push_back(to.confined() ? home + "/" + to.group() : home);
    if (to.confined()) CTN_TRY(set_up(*groups, wanted.back(), to));
  }
  if (outside) {
    /* All come along to a group of those that are confined, also threads that are not. */
    auto first = std::find_if(wanted.begin(), wanted.end(),
                              [&](const std::string& group) { return group != home; });
    if (first == wanted.end()) return true;
    CTN_TRY(groups->put_process(*first, pid));
    std::fill(now.begin(), now.end(), *first);
    changed_ = true;
  }
  for (std::size_t i = 0; i < process.size(); i++) {
    if (now[i] == wanted[i]) continue;
    changed_ = true;
    CTN_TRY(groups->put_thread(wanted[i], static_cast<pid_t>(process[i]->tid)));
  }
  return true;
}

/* Before 6.2, and with v1, whoever is in a group gets all of a new list: who had chosen less gets that back. */
Result<void> Work::set_up(const Groups& groups, const std::string& group, const Placing& to) {
  if (!set_up_.insert(group).second) return {};
  std::map<pid_t, IndexSet> own;
  IndexSet cpus = to.group_cpus();
  auto had = parse_index_set("cpus", groups.cpus(group), PLACE_MAX_CPUS);
  if (had && !had->empty() && *had != cpus)
    for (pid_t tid : groups.threads(group))
      if (auto mask = affinity::online_mask(tid);
          mask && !mask->empty() && mask->within(cpus) && !is_whole(*mask, *had))
        own.emplace(tid, *mask);
  CTN_TRY(groups.set(group, cpus, to.group_mems(), to.mems.migrate));
  for (const auto& [tid, mask] : own)
    if (affinity::online_mask(tid) == (cpus & cpus_online_)) (void)affinity::set_mask(tid, mask);
  return {};
}

/* A mask of its own choice is its own again. */
Result<void> Work::take_out(pid_t pid) {
  for (const std::optional<Groups>* groups : {&v2_, &v1_}) {
    if (!*groups || !(*groups)->group_of(pid)) continue;
    CTN_TRY((*groups)->take_out(pid));
    changed_ = true;
  }
  return {};
}

Error Work::with_owner(const Error& error, pid_t tid, const IndexSet& cpus) const {
  const std::optional<Groups>& groups = v2_ ? v2_ : v1_;
  if (error.code != EINVAL || !groups) return error;
  IndexSet missing = (cpus & cpus_online_).without(groups->granted(kCpus, groups->path_of(tid)));
  std::string who = missing.empty() ? "" : who_has(*groups, kCpus, missing);
  return who.empty() ? error : Error{EBUSY, fmt::format("{}: {}", error.what, who)};
}

}  // namespace ctnbpf::placement
