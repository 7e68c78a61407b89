#include "placement/placer.h"
#include "ctnbpf/membership.h"

#include <fmt/format.h>

#include <utility>

namespace ctnbpf {
namespace placement {

std::uint32_t hierarchy_of(const State& state, const PlaceKind& kind) {
  std::uint8_t bound = load(state.core().bound[kind.id]);
  return bound == 0 ? std::uint32_t{CTN_MAX_HIER} : bound - 1U;
}

}  // namespace placement

using placement::hierarchy_of;
using placement::kGroupDrivers;

std::uint32_t Placing::driver() const {
  std::uint32_t both = (cpus.confined ? cpus.driver : 0) | (mems.confined ? mems.driver : 0);
  return (both & PLACE_CGROUP2) != 0 ? std::uint32_t{PLACE_CGROUP2} : both;
}

bool Placing::automatic() const {
  return (!cpus.confined || cpus.automatic) && (!mems.confined || mems.automatic);
}

Result<Placer> Placer::open(const State& state) {
  Placer placer;
  for (auto [kind, half] : {std::pair{&kCpus, &placer.cpus_}, {&kNodes, &placer.mems_}}) {
    half->hierarchy = hierarchy_of(state, *kind);
    if (half->hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(half->sets, Sets::open(state, *kind));
  }
  return placer;
}

Placing::Side Placer::side(const Half& half, Slot slot) const {
  Placing::Side side;
  if (!half.sets || slot < CTN_MAX_HIER || !half.sets->confined(slot)) return side;
  side.confined = true;
  side.set = half.sets->in_force(slot);
  side.placed = half.sets->placed(slot);
  side.by = half.sets->provider(slot);
  side.driver = half.sets->flags(half.hierarchy) & kGroupDrivers;
  side.automatic = (half.sets->flags(half.hierarchy) & PLACE_AUTO) != 0;
  side.migrate = (half.sets->flags(slot) & PLACE_MIGRATE) != 0;
  return side;
}

Placing Placer::at(Slot cpus, Slot mems) const { return {side(cpus_, cpus), side(mems_, mems)}; }

Placing Placer::of(const ctn_walk_task& task) const {
  auto slot = [&](const Half& half) {
    return half.hierarchy == CTN_MAX_HIER ? 0 : container_of(task, half.hierarchy);
  };
  return at(slot(cpus_), slot(mems_));
}

/* A slot names a container for as long as the group can have a task in it: a group is removed with it. */
std::string Placing::group() const {
  std::string name;
  if (cpus.confined) name += fmt::format("cpus-{}", cpus.by);
  if (mems.confined)
    name += fmt::format("{}mems-{}{}", name.empty() ? "" : "-", mems.by, mems.migrate ? "m" : "");
  return name;
}

IndexSet Placing::group_cpus() const {
  if (!cpus.confined) return {};
  return driver() == PLACE_CGROUP1 ? cpus.set & kCpus.online() : cpus.set;
}

IndexSet Placing::group_mems() const {
  return mems.confined ? mems.set & kNodes.online() : IndexSet();
}

}  // namespace ctnbpf
