/* Placement: puts what the sets of cpuset and memset say in force for the tasks. One place for both
 * subsystems: a task is placed by the pair of its containers.
 *
 * Drivers, by hierarchy:
 *   cgroup2, cgroup1  a group of the kernel's cpuset controller for each pair in use (groups.h)
 *   affinity          the CPU mask of each task; memory policy and moving pages for memory
 * docs/placement.md has what each can and cannot do. */
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "placement/groups.h"
#include "placement/placer.h"

namespace ctnbpf::placement {

/* What is in force where nothing confines: no mask is outside of it. */
IndexSet everything();

/* A set of `top`, or of a container above, has changed: brings what is in force up to date for it and
 * those below, and places their tasks, all of them and those born meanwhile. */
Result<void> settle(Writer& writer, const PlaceKind& kind, Slot top);

/* These tasks have come to `slot`. */
Result<void> arrive(Writer& writer, const PlaceKind& kind, Slot slot,
                    std::span<const Arrival> tasks);

/* The machine may have changed since a set was last put in force: CPUs on- or offline, a child born in
 * the middle of a change. With `interrupted` a writer was killed, and everything is looked at. */
Result<void> refresh(Writer& writer, bool interrupted);

/* Tasks that may run where they should not, groups whose sets are wrong or that nobody needs. */
Result<std::vector<std::string>> check(const State& state);
Result<std::vector<std::string>> repair(Writer& writer);

/* Does any hierarchy use groups of this version; of any? */
bool uses_groups(const State& state, Groups::Version version);
bool uses_groups(const State& state);
/* Tells the hook which groups are ours: it leaves their tasks to the kernel's own controller. */
Result<void> tell_hook_of_groups(Writer& writer);
/* Removes groups nobody is in any more. */
void prune(const State& state);
/* Groups of a version that no hierarchy uses, and the switch in `cgroup.subtree_control` that was turned
 * for them. With `remove` they go, and who is in them goes back to where it came from. */
Result<std::vector<std::string>> leftovers(const State& state, bool remove);
/* All groups, whoever uses them, and the switch. */
void clear_away(const State& state);
/* The end: all tasks may use everything again, all groups go. */
Result<void> release(Writer& writer);

}  // namespace ctnbpf::placement
