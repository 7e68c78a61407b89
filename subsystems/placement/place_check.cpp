/* Placement as fsck sees it, and the groups nobody needs any more. */
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "placement/affinity.h"
#include "placement/place.h"

namespace ctnbpf::placement {
namespace {

void remove_unused() {
  for (Groups::Version version : {Groups::Version::kV2, Groups::Version::kV1}) {
    auto groups = Groups::open(version);
    if (!groups) continue;
    for (const std::string& group : groups->all()) (void)groups->remove(group);
    groups->remove_top();
  }
}

}  // namespace

/* Do the tasks of any hierarchy use groups? */
bool uses_groups(const State& state) {
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(state, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    if (auto sets = Sets::open(state, *kind); sets && (sets->flags(hierarchy) & kGroupDrivers) != 0)
      return true;
  }
  return false;
}

Result<std::vector<std::string>> check(const State& state) {
  std::vector<std::string> found;
  CTN_ASSIGN(Placer placer, Placer::open(state));
  CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
  auto v2 = Groups::open(Groups::Version::kV2);
  auto v1 = Groups::open(Groups::Version::kV1);
  std::set<std::string> wanted;
  for (const ctn_walk_task& task : tasks) {
    if (has_exited(task)) continue;
    Placing to = placer.of(task);
    if (!to.confined()) continue;
    auto tid = static_cast<pid_t>(task.tid);
    const auto& groups = to.driver() == PLACE_CGROUP1 ? v1 : v2;
    if (to.driver() != 0 && groups) {
      wanted.insert(to.group());
      auto group = groups->group_of(tid);
      if (group && *group != to.group())
        found.push_back(fmt::format("task {} is in group '{}' of ours, and belongs in '{}'", tid,
                                    *group, to.group()));
      if (group == to.group() && to.cpus.confined &&
          groups->cpus(*group) != to.cpus.set.to_string())
        found.push_back(fmt::format("group '{}' has CPUs '{}', its container makes it '{}'", *group,
                                    groups->cpus(*group), to.cpus.set.to_string()));
      std::string mems = (to.mems.set & kNodes.online()).to_string();
      if (group == to.group() && to.mems.confined && groups->mems(*group) != mems)
        found.push_back(fmt::format("group '{}' has nodes '{}', its container makes it '{}'",
                                    *group, groups->mems(*group), mems));
      if (group) continue;
    }
    if (!to.cpus.confined) continue;
    IndexSet mask = affinity::mask_of_thread(tid);
    if (!mask.within(to.cpus.set))
      found.push_back(fmt::format("task {} may run on CPUs '{}', its container has '{}'", tid,
                                  mask.to_string(), to.cpus.set.to_string()));
  }
  for (const auto* groups : {&v2, &v1})
    if (*groups)
      for (const std::string& group : (*groups)->all()) {
        if (wanted.contains(group)) continue;
        std::vector<pid_t> inside = (*groups)->threads(group);
        if (!inside.empty())
          found.push_back(fmt::format("group '{}' has task {}, which is in no container of its",
                                      group, inside[0]));
      }
  return found;
}

Result<std::vector<std::string>> repair(Writer& writer) {
  CTN_ASSIGN(auto before, check(writer));
  CTN_TRY(refresh(writer, true));
  prune(writer);
  CTN_ASSIGN(auto after, check(writer));
  std::vector<std::string> mended;
  for (const std::string& one : before)
    if (std::find(after.begin(), after.end(), one) == after.end())
      mended.push_back("placed again: " + one);
  return mended;
}

void prune(const State& state) {
  if (uses_groups(state)) remove_unused();
}

}  // namespace ctnbpf::placement
