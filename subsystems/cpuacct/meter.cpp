#include "cpuacct/meter.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <vector>

#include "cpuacct/sample.h"

namespace ctnbpf::cpuacct {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = MeterColumn::Kind;

constexpr std::array kColumns = {
    MeterColumn{"cpu_ns", "cpu time", "CPU time of the subtree", Kind::kNanoseconds},
    MeterColumn{"cpu_percent", "cpu %", "percent of one CPU the subtree uses now", Kind::kRate},
    MeterColumn{"load_percent", "load", "percent of one CPU the subtree used in the last full 10 s",
                Kind::kPercent},
};

/* Figures by slot, as a later look at the maps would find others. */
struct Reading {
  struct Of {
    std::uint32_t generation;
    std::uint64_t used;
    std::uint64_t system;
    std::uint64_t load;
  };
  Clock::time_point when;
  std::vector<Of> slots;
};

class CpuMeter : public Meter {
 public:
  std::span<const MeterColumn> columns() const override { return kColumns; }

  Result<void> read(const State& state) override {
    CTN_ASSIGN(Sample sample, Sample::take(state));
    before_ = std::move(now_);
    now_.when = Clock::now();
    now_.slots.clear();
    now_.slots.reserve(state.nodes().size());
    for (Slot slot = 0; slot < state.nodes().size(); slot++)
      now_.slots.push_back({load(state.nodes()[slot].generation), sample.total(slot),
                            sample.total_system(slot), load_percent(sample.last_window(slot))});
    return {};
  }

  void values(Slot slot, std::span<std::optional<std::uint64_t>> out) const override {
    if (slot >= now_.slots.size()) return;
    out[0] = now_.slots[slot].used;
    out[1] = percent(slot);
    /* Windows of the machine's own tasks are not kept. */
    if (slot >= CTN_MAX_HIER) out[2] = now_.slots[slot].load;
  }

  std::string cell(Slot slot) const override {
    auto share = percent(slot);
    return share ? fmt::format("cpu {} %", *share) : "";
  }

  std::string summary(Slot slot) const override {
    if (slot >= now_.slots.size()) return "";
    Reading::Of since = first(slot);
    std::uint64_t used = grown(since.used, now_.slots[slot].used);
    std::uint64_t system = std::min(grown(since.system, now_.slots[slot].system), used);
    return fmt::format("cpu {:.2f} s (user {:.1f} sys {:.1f})", seconds(used),
                       seconds(used - system), seconds(system));
  }

 private:
  static double seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }
  static std::uint64_t grown(std::uint64_t from, std::uint64_t to) {
    return to - std::min(from, to);
  }
  bool seen_before(Slot slot) const {
    return slot < before_.slots.size() &&
           before_.slots[slot].generation == now_.slots[slot].generation;
  }
  /* A container that was not there at the reading before had used nothing. */
  Reading::Of first(Slot slot) const {
    return seen_before(slot) ? before_.slots[slot]
                             : Reading::Of{now_.slots[slot].generation, 0, 0, 0};
  }

  std::optional<std::uint64_t> percent(Slot slot) const {
    if (before_.slots.empty() || slot >= now_.slots.size()) return std::nullopt;
    auto passed =
        static_cast<std::uint64_t>((now_.when - before_.when) / std::chrono::nanoseconds(1));
    if (passed == 0) return std::nullopt;
    return (grown(first(slot).used, now_.slots[slot].used) * 100 + passed / 2) / passed;
  }

  Reading before_;
  Reading now_;
};

}  // namespace

std::unique_ptr<Meter> make_meter() { return std::make_unique<CpuMeter>(); }

}  // namespace ctnbpf::cpuacct
