/* What the kernel really lets tasks use, whatever was written; and who has what it keeps from them. */
#pragma once

#include <string>

#include "ctnbpf/state.h"
#include "placement/groups.h"
#include "placement/kind.h"

namespace ctnbpf::placement {

/* What the members of a container may use, by the kernel's word: what their groups give, and what their masks
 * have, inside of the set or not. Of one without members: what of its set somebody who came would get. */
Result<IndexSet> effective(const State& state, const PlaceKind& kind, Slot slot);

/* EBUSY: part of `wanted` is somebody else's alone, for who is in no group of theirs; says whose. */
Result<void> check_granted(const State& state, const PlaceKind& kind, const IndexSet& wanted);

/* Who has some of `missing` for itself alone: "CPUs 2-3 are in the partition '/iso'"; empty: nobody. */
std::string who_has(const Groups& groups, const PlaceKind& kind, const IndexSet& missing);

}  // namespace ctnbpf::placement
