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
#include "placement/sets.h"

namespace ctnbpf {

/* Where a task belongs. */
struct Placing {
  struct Side {
    bool confined = false; /* else anything goes */
    IndexSet set;          /* in force */
    Slot by = 0;           /* the container whose list it is */
    std::uint32_t driver = 0; /* PLACE_CGROUP2, PLACE_CGROUP1, or 0: affinity */
    bool automatic = false;
    bool migrate = false;
  };
  Side cpus;
  Side mems;

  bool confined() const { return cpus.confined || mems.confined; }
  /* That of the side that confines; groups if the two differ. */
  std::uint32_t driver() const;
  /* Was it chosen by us? Then what a group cannot do is left to affinity. */
  bool automatic() const;
  /* Name of the pair's group; empty if nothing is confined. */
  std::string group() const;
};

/* The pair of a task, from the sets in force. */
class Placer {
 public:
  static Result<Placer> open(const State& state);
  Placing of(const ctn_walk_task& task) const;
  Placing at(Slot cpus, Slot mems) const; /* 0: in a root */
  /* The hierarchy a kind is bound to, or CTN_MAX_HIER. */
  std::uint32_t hierarchy(const PlaceKind& kind) const;

 private:
  struct Half {
    std::uint32_t hierarchy = CTN_MAX_HIER;
    std::optional<Sets> sets;
  };
  Placing::Side side(const Half& half, Slot slot) const;
  Half cpus_;
  Half mems_;
};

namespace placement {

/* What is in force where nothing confines: no mask is outside of it. */
IndexSet everything();

/* A set of `top`, or of a container above, has changed: brings what is in force up to date for it and
 * those below, and places their tasks, all of them and those born meanwhile. */
Result<void> settle(Writer& writer, const PlaceKind& kind, Slot top);

/* These tasks have come to `slot`. */
Result<void> arrive(Writer& writer, const PlaceKind& kind, Slot slot, std::span<const Arrival> tasks);

/* The machine may have changed since a set was last put in force: CPUs on- or offline, a child born in
 * the middle of a change. With `interrupted` a writer was killed, and everything is looked at. */
Result<void> refresh(Writer& writer, bool interrupted);

/* Tasks that may run where they should not, groups whose sets are wrong or that nobody needs. */
Result<std::vector<std::string>> check(const State& state);
Result<std::vector<std::string>> repair(Writer& writer);

/* Removes groups nobody is in any more. */
void prune(const State& state);
/* The end: all tasks may use everything again, all groups go. */
Result<void> release(Writer& writer);

}  // namespace placement
}  // namespace ctnbpf
