/* Readings of the subsystems' meters, for a command. */
#pragma once

#include <chrono>
#include <map>
#include <memory>

#include "ctnbpf/meter.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::metrics {

class Meters {
 public:
  /* Reads those of the subsystems that are bound. */
  Result<void> read(const State& state);
  /* Twice, so that rates are known: at once where no meter is bound, else this time apart. */
  Result<void> read_rates(const State& state);
  /* From the next reading on, for all meters: see Meter. */
  void keep_series() { keeps_series_ = true; }
  /* Null: the subsystem has none, or was not bound. */
  const Meter* of(const Subsystem& subsystem) const;

 private:
  static constexpr std::chrono::milliseconds kApart{100};
  std::map<const Subsystem*, std::unique_ptr<Meter>> meters_;
  bool keeps_series_ = false;
};

}  // namespace ctnbpf::metrics
