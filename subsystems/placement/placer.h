/* Where a task belongs: the pair of its containers of cpuset and of memset. */
#pragma once

#include <array>
#include <optional>
#include <string>

#include "ctnbpf/membership.h"
#include "placement/sets.h"

namespace ctnbpf {

/* Where a task belongs. */
struct Placing {
  struct Side {
    bool confined = false;    /* else anything goes */
    IndexSet set;             /* in force */
    IndexSet placed;          /* what its tasks were last placed by; with no list, everything */
    Slot by = 0;              /* the container whose list it is */
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
  /* What is written to it; empty where that side does not confine. A group of v1 takes only what is
   * online. */
  IndexSet group_cpus() const;
  IndexSet group_mems() const;
};

/* The pair of a task, from the sets in force. */
class Placer {
 public:
  static Result<Placer> open(const State& state);
  Placing of(const ctn_walk_task& task) const;
  Placing at(Slot cpus, Slot mems) const; /* 0: in a root */

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

inline constexpr std::array kKinds = {&kCpus, &kNodes};
inline constexpr std::uint32_t kGroupDrivers = PLACE_CGROUP2 | PLACE_CGROUP1;

/* The hierarchy a kind is bound to, or CTN_MAX_HIER. */
std::uint32_t hierarchy_of(const State& state, const PlaceKind& kind);

}  // namespace placement
}  // namespace ctnbpf
