/* The CPU masks that tasks had before they were placed: kept beside their records, by number (cpuset.bpf.h),
 * so they outlive commands, are inherited by children, and go with the tasks. */
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ctnbpf/state.h"
#include "cpuset/cpuset.h"
#include "placement/index_set.h"

namespace ctnbpf {

class Earlier {
 public:
  static Result<Earlier> open(Writer& writer);

  /* Every task that is confined and was not has its mask kept; so do those they fork from now on. */
  Result<void> remember();
  /* The mask of a number in a task's record; none: it is not known. */
  std::optional<IndexSet> mask(std::uint32_t number) const;
  /* These have their masks back. */
  Result<void> forget(std::span<const pid_t> tids);

 private:
  explicit Earlier(const State& state) : state_(&state) {}
  Result<void> make_room();

  const State* state_;
  std::span<came_with_state> request_;
  std::span<const std::uint64_t> words_;
};

}  // namespace ctnbpf
