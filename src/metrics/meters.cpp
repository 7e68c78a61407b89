#include "meters.h"

#include <thread>

namespace ctnbpf::metrics {

Result<void> Meters::read(const State& state) {
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->meter == nullptr || load(state.core().bound[subsystem->id]) == 0) continue;
    auto& meter = meters_[subsystem];
    if (!meter) meter = subsystem->meter();
    if (keeps_series_) meter->keep_series();
    CTN_TRY(meter->read(state));
  }
  return {};
}

Result<void> Meters::read_rates(const State& state) {
  CTN_TRY(read(state));
  if (meters_.empty()) return {};
  std::this_thread::sleep_for(kApart); /* what is measured is this time */
  return read(state);
}

const Meter* Meters::of(const Subsystem& subsystem) const {
  auto found = meters_.find(&subsystem);
  return found == meters_.end() ? nullptr : found->second.get();
}

}  // namespace ctnbpf::metrics
