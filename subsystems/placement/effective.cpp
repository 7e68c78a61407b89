#include "placement/effective.h"

#include <fmt/format.h>

#include <map>

#include "ctnbpf/address.h"
#include "ctnbpf/membership.h"
#include "placement/affinity.h"
#include "placement/placer.h"
#include "placement/sets.h"

namespace ctnbpf::placement {
namespace {

std::optional<Groups> any_groups(const State& state) {
  for (Groups::Version version : {Groups::Version::kV2, Groups::Version::kV1})
    if (auto groups = Groups::open(version, state)) return std::move(*groups);
  return std::nullopt;
}

/* By the group a task is in: many are in the same one. */
class Granted {
 public:
  Granted(const std::optional<Groups>& groups, const PlaceKind& kind)
      : groups_(groups), kind_(kind), online_(kind.online()) {}

  const IndexSet& at(const std::string& path) {
    auto [found, fresh] = known_.emplace(path, IndexSet());
    if (fresh) found->second = groups_ ? groups_->granted(kind_, path) & online_ : online_;
    return found->second;
  }

 private:
  const std::optional<Groups>& groups_;
  const PlaceKind& kind_;
  IndexSet online_;
  std::map<std::string, IndexSet> known_;
};

}  // namespace

Result<IndexSet> effective(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  IndexSet online = kind.online();
  IndexSet set = sets.computed(slot, online) & online;
  if (slot < CTN_MAX_HIER) return set;
  std::optional<Groups> groups = any_groups(state);
  Granted granted(groups, kind);
  IndexSet real;
  if (live_tasks(state.nodes()[slot]) != 0) {
    std::uint32_t hierarchy = state.nodes()[slot].hierarchy;
    CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
    for (const ctn_walk_task& task : tasks) {
      if (has_exited(task) || container_of(task, hierarchy) != slot ||
          (task.kernel_thread & CTN_KTHREAD_BOUND) != 0)
        continue;
      auto tid = static_cast<pid_t>(task.tid);
      if (groups && groups->group_of(tid)) {
        real = real | granted.at(groups->path_of(tid));
        continue;
      }
      /* By affinity: it may choose again among all of the set that its own group has. */
      real = real | (set & granted.at(groups ? groups->path_of(tid) : "/"));
      if (&kind == &kCpus) real = real | affinity::mask_of_thread(tid);
    }
  }
  return real.empty() ? set & granted.at("/") : real;
}

std::string who_has(const Groups& groups, const PlaceKind& kind, const IndexSet& missing) {
  std::string path = groups.exclusive_owner(kind, missing);
  if (path.empty()) return {};
  return fmt::format("{} '{}' or part of them are for control group '{}' alone", kind.list,
                     missing.to_string(), printable(path));
}

Result<void> check_granted(const State& state, const PlaceKind& kind, const IndexSet& wanted) {
  std::optional<Groups> groups = any_groups(state);
  if (!groups) return {};
  IndexSet missing = (wanted & kind.online()).without(groups->granted(kind, "/"));
  if (missing.empty()) return {};
  /* Nobody's: on their way, as after a CPU has come. */
  std::string who = who_has(*groups, kind, missing);
  if (who.empty()) return {};
  return Error{EBUSY, fmt::format("{}.{} cannot be '{}': {}; leave them out, or end that",
                                  kind.name, kind.list, wanted.to_string(), who)};
}

}  // namespace ctnbpf::placement
