/* What a subsystem shows in `tree`, `stat` and `run --stat` besides its Figures: what has to be read for
 * all containers at one moment, and how quickly that grows. */
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct MeterColumn {
  enum class Kind {
    kNanoseconds, /* counts up; people see seconds */
    kPercent,
    kRate, /* percent; needs two readings */
  };
  const char* name;  /* for programs: "cpu_ns" */
  const char* title; /* for people: "cpu time" */
  const char* help;
  Kind kind;
};

/* What a container has more than one number of: for who collects metrics. */
struct MeterSeries {
  enum class Kind {
    kByNumber,  /* nanoseconds that count up, for each number of what `label` names */
    kHistogram, /* how often something took so many nanoseconds */
  };
  const char* name; /* without the unit: "cpu_slice" */
  const char* help;
  Kind kind;
  const char* label = nullptr; /* kByNumber: "cpu" */
  std::span<const std::uint64_t> bounds =
      {}; /* kHistogram: upper bounds, without the last, which has none */
};

/* Lives as long as a command, and keeps of its last two readings what it needs. */
class Meter {
 public:
  virtual ~Meter() = default;
  virtual std::span<const MeterColumn> columns() const = 0;
  virtual Result<void> read(const State& state) = 0;
  /* Of the last reading, into `out` by column; what is not known is left alone. A rate is that between
   * the last two readings. */
  virtual void values(Slot slot, std::span<std::optional<std::uint64_t>> out) const = 0;
  /* What `tree` says: "cpu 182 %"; empty: nothing. */
  virtual std::string cell(Slot slot) const = 0;
  virtual std::span<const MeterSeries> series() const { return {}; }
  /* From the next reading on what points() tells is kept: it is much. */
  virtual void keep_series() {}
  /* Of the last reading. By number: each one's. Histogram: of each bound how often it was that long and
   * not longer than the bound before, then of the rest, then the sum of all in nanoseconds. Empty: never. */
  virtual std::span<const std::uint64_t> points(Slot, std::size_t /* of series() */) const {
    return {};
  }
  /* What `run --stat` says of the time between the last two readings: "cpu 21.90 s (...)". */
  virtual std::string summary(Slot slot) const = 0;
};

}  // namespace ctnbpf
