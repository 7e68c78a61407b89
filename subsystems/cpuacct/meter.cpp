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
    MeterColumn{"load_percent", "load",
                "share of one CPU that the subtree used in the last full 10 s", Kind::kPercent},
};

/* 2^14 ns, 2^15 ns, ...: CPUACCT_FIRST_BITS */
constexpr auto kBounds = [] {
  std::array<std::uint64_t, CPUACCT_BUCKETS - 1> bounds{};
  for (std::size_t i = 0; i < bounds.size(); i++) bounds[i] = 1ULL << (CPUACCT_FIRST_BITS + i);
  return bounds;
}();
constexpr std::array kSeries = {
    MeterSeries{"cpu_slice", "how long tasks of the container itself ran at a time",
                MeterSeries::Kind::kHistogram, nullptr, kBounds},
    MeterSeries{"cpu_own", "CPU time of the container's own tasks, by CPU",
                MeterSeries::Kind::kByNumber, "cpu"},
};
enum { kSlices, kOwn };

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
  /* Points of series: of containers that ever ran. */
  std::vector<std::size_t> points_at; /* by slot: where in `points`, plus one; 0: never ran */
  std::vector<std::uint64_t> points;  /* slices, their sum, own time by CPU; and so on */
  std::uint32_t cpus = 0;
};
constexpr std::size_t kSlicePoints = CPUACCT_BUCKETS + 1;

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
    if (keeps_series_) keep_points(state, sample);
    return {};
  }

  std::span<const MeterSeries> series() const override { return kSeries; }
  void keep_series() override { keeps_series_ = true; }
  std::span<const std::uint64_t> points(Slot slot, std::size_t which) const override {
    if (slot >= now_.points_at.size() || now_.points_at[slot] == 0) return {};
    const std::uint64_t* first = now_.points.data() + now_.points_at[slot] - 1;
    return which == kSlices ? std::span(first, kSlicePoints)
                            : std::span(first + kSlicePoints, now_.cpus);
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
  void keep_points(const State& state, const Sample& sample) {
    now_.cpus = sample.cpus();
    now_.points.clear();
    now_.points_at.assign(state.nodes().size(), 0);
    for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
      if (state.nodes()[slot].state == CTN_FREE) continue;
      cpuacct_cell sum = sample.sum(slot);
      if (sum.usage == 0) continue;
      now_.points_at[slot] = now_.points.size() + 1;
      now_.points.insert(now_.points.end(), std::begin(sum.slices), std::end(sum.slices));
      now_.points.push_back(sum.usage);
      for (std::uint32_t cpu = 0; cpu < now_.cpus; cpu++)
        now_.points.push_back(sample.cell(slot, cpu).usage);
    }
  }

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
  bool keeps_series_ = false;
};

}  // namespace

std::unique_ptr<Meter> make_meter() { return std::make_unique<CpuMeter>(); }

}  // namespace ctnbpf::cpuacct
