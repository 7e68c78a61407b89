/* Placement as fsck sees it, and the groups nobody needs any more. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "placement/affinity.h"
#include "ctnbpf/membership.h"
#include "placement/effective.h"
#include "placement/place.h"

namespace ctnbpf::placement {
namespace {

constexpr std::array kVersions = {Groups::Version::kV2, Groups::Version::kV1};

/* What is wrong with a member that is placed by a group; nothing if it is left to affinity. */
std::vector<std::string> check_member(const Groups& groups, const ctn_walk_task& task,
                                      const Placing& to, const std::optional<std::string>& group) {
  std::vector<std::string> found;
  std::string wanted = to.group();
  if (!group) {
    if (!to.automatic())
      found.push_back(
          fmt::format("task {} is in no group of ours, and belongs in '{}'", task.tid, wanted));
    return found;
  }
  if (*group != Groups::home_of(*group) + "/" + wanted) {
    found.push_back(fmt::format("task {} is in group '{}' of ours, and belongs in '{}'", task.tid,
                                *group, wanted));
    return found;
  }
  auto compare = [&](const char* what, const std::string& now, const IndexSet& set) {
    if (!set.empty() && now != set.to_string())
      found.push_back(fmt::format("group '{}' has {} '{}', its container makes it '{}'", *group,
                                  what, now, set.to_string()));
  };
  compare("CPUs", groups.cpus(*group), to.group_cpus());
  compare("nodes", groups.mems(*group), to.group_mems());
  for (const auto& [kind, set] : {std::pair{&kCpus, to.group_cpus()}, {&kNodes, to.group_mems()}}) {
    IndexSet gets = groups.granted(*kind, groups.full_name(*group));
    IndexSet missing = set.empty() ? set : (set & kind->online()).without(gets);
    if (missing.empty()) continue;
    if (std::string who = who_has(groups, *kind, missing); !who.empty())
      found.push_back(fmt::format("group '{}' has {} '{}' and gets '{}': {}", *group, kind->list,
                                  set.to_string(), gets.to_string(), who));
  }
  return found;
}

}  // namespace

bool uses_groups(const State& state, Groups::Version version) {
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(state, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    std::uint32_t driver = version == Groups::Version::kV2 ? PLACE_CGROUP2 : PLACE_CGROUP1;
    if (auto sets = Sets::open(state, *kind); sets && (sets->flags(hierarchy) & driver) != 0)
      return true;
  }
  return false;
}

bool uses_groups(const State& state) {
  return uses_groups(state, Groups::Version::kV2) || uses_groups(state, Groups::Version::kV1);
}

Result<std::vector<std::string>> check(const State& state) {
  std::vector<std::string> found;
  CTN_ASSIGN(Placer placer, Placer::open(state));
  CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
  auto v2 = Groups::open(Groups::Version::kV2, state);
  auto v1 = Groups::open(Groups::Version::kV1, state);
  std::map<pid_t, std::uint32_t> process_of;
  std::set<std::uint32_t> grouped; /* processes with a thread that belongs in a group */
  for (const ctn_walk_task& task : tasks) {
    if (has_exited(task)) continue;
    auto tid = static_cast<pid_t>(task.tid);
    process_of[tid] = task.tgid;
    Placing to = placer.of(task);
    if (task.came_with != 0 && !to.cpus.confined)
      found.push_back(fmt::format(
          "task {} is in no container with CPUs any more, and has not got back those it had", tid));
    if (!to.confined() || (task.kernel_thread & CTN_KTHREAD_BOUND) != 0) continue;
    const auto& groups = to.driver() == PLACE_CGROUP1 ? v1 : v2;
    if (to.driver() != 0 && groups) {
      grouped.insert(task.tgid);
      auto group = groups->group_of(tid);
      auto wrong = check_member(*groups, task, to, group);
      found.insert(found.end(), wrong.begin(), wrong.end());
      if (group || !wrong.empty()) continue;
    }
    if (!to.cpus.confined) continue;
    IndexSet mask = affinity::mask_of_thread(tid);
    if (!mask.within(to.cpus.set))
      found.push_back(fmt::format("task {} may run on CPUs '{}', its container has '{}'", tid,
                                  mask.to_string(), to.cpus.set.to_string()));
  }
  for (const auto* groups : {&v2, &v1}) {
    if (!*groups) continue;
    for (const std::string& group : (*groups)->all())
      for (pid_t tid : (*groups)->threads(group)) {
        auto process = process_of.find(tid);
        if (process == process_of.end() || grouped.contains(process->second)) continue;
        found.push_back(
            fmt::format("group '{}' has task {}, which is in no container of its", group, tid));
        break;
      }
  }
  return found;
}

Result<std::vector<std::string>> repair(Writer& writer) {
  CTN_ASSIGN(auto before, check(writer));
  CTN_TRY(refresh(writer, true));
  CTN_ASSIGN(auto after, check(writer));
  std::vector<std::string> mended;
  for (const std::string& one : before)
    if (std::find(after.begin(), after.end(), one) == after.end())
      mended.push_back("placed again: " + one);
  return mended;
}

void prune(const State& state) {
  for (Groups::Version version : kVersions)
    if (uses_groups(state, version))
      if (auto groups = Groups::open(version, state)) groups->remove_empty();
}

namespace {

/* What there is of a version; with `remove` it goes. */
std::vector<std::string> all_of(const Groups& groups, bool remove) {
  std::vector<std::string> found;
  if (groups.top_inode() != 0) {
    for (const std::string& group : groups.all()) {
      found.push_back(fmt::format("group '{}' is left behind", groups.full_name(group)));
      if (!remove) continue;
      for (pid_t tid : groups.threads(group))
        if (tid != 0) (void)groups.take_out(tid); /* 0: not of our pid namespace, and not us */
    }
    if (remove) groups.remove_empty();
  }
  if (groups.switched_on() && groups.nobody_minds()) {
    found.emplace_back(
        "the cpuset controller is on in cgroup.subtree_control for groups of ours that are gone");
    if (remove) groups.switch_off();
  }
  return found;
}

}  // namespace

Result<std::vector<std::string>> leftovers(const State& state, bool remove) {
  std::vector<std::string> found;
  for (Groups::Version version : kVersions) {
    CTN_ASSIGN(auto abandoned, Groups::abandoned(version, state));
    for (const Groups& groups : abandoned) {
      std::vector<std::string> its = all_of(groups, remove);
      found.insert(found.end(), its.begin(), its.end());
    }
    if (uses_groups(state, version)) continue;
    if (auto groups = Groups::open(version, state)) {
      std::vector<std::string> its = all_of(*groups, remove);
      found.insert(found.end(), its.begin(), its.end());
    }
  }
  return found;
}

void clear_away(const State& state) {
  for (Groups::Version version : kVersions)
    if (auto groups = Groups::open(version, state)) (void)all_of(*groups, true);
}

}  // namespace ctnbpf::placement
