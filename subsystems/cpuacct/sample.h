/* CPU figures of all containers at one moment, the slices that run now included. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpuacct/cpuacct.h"
#include "ctnbpf/state.h"

namespace ctnbpf::cpuacct {

class Sample {
 public:
  /* Looks at every CPU. `state` is to live as long as the sample. */
  static Result<Sample> take(const State& state);

  std::uint32_t cpus() const { return static_cast<std::uint32_t>(looks_.size()); }
  /* What the container's own tasks used on one CPU, up to now. Zero for a root. */
  cpuacct_cell cell(Slot slot, std::uint32_t cpu) const;
  /* The same on all CPUs; `mark` and `window_end` are of no meaning. */
  cpuacct_cell sum(Slot slot) const;
  /* What removed containers right below used, and all that was below those. */
  std::uint64_t removed(Slot slot) const { return totals()[slot].removed; }
  /* Own + removed + the total of each child. Of a root: what the machine used since its start. */
  std::uint64_t total(Slot slot) const;
  /* Own; of a root what is left of the machine's. */
  std::uint64_t usage(Slot slot) const;
  /* Of the machine, on one CPU. */
  std::uint64_t machine(std::uint32_t cpu) const { return looks_[cpu].machine; }
  /* Of `total`, in the kernel as far as its ticks tell. What removed containers used is not split. */
  std::uint64_t total_system(Slot slot) const { return totals()[slot].system; }
  /* What the subtree used in the last full window; nothing is known of a root's. */
  std::uint64_t last_window(Slot slot) const { return totals()[slot].last_window; }

 private:
  explicit Sample(const State& state) : state_(&state) {}
  std::uint64_t folded(Slot slot) const;
  bool never_ran(Slot slot, std::uint32_t cpu) const;
  bool never_ran(Slot slot) const;

  struct Total {
    std::uint64_t usage = 0;
    std::uint64_t removed = 0;
    std::uint64_t last_window = 0;
    std::uint64_t system = 0;
  };
  /* By slot; those of roots: of all containers below. Added up over every container, so only when
   * they are asked for. */
  const std::vector<Total>& totals() const;
  void add_up() const;

  const State* state_;
  std::vector<cpuacct_look> looks_; /* by CPU */
  std::uint64_t machine_ = 0;
  std::span<const cpuacct_cell> cells_;
  std::span<const cpuacct_state> states_;
  mutable std::vector<Total> totals_; /* empty: not added up yet */
};

inline std::uint64_t load_percent(std::uint64_t last_window) {
  return (last_window * 100 + CPUACCT_WINDOW / 2) / CPUACCT_WINDOW;
}

/* Of its usage, what was spent in the kernel. */
std::uint64_t system_of(const cpuacct_cell& cell);

/* CLOCK_MONOTONIC less the scheduler's clock, or a very little more; 0 where this kernel shows no
 * such clock. */
Result<std::int64_t> measure_clock(const State& state);

}  // namespace ctnbpf::cpuacct
