/* What a subsystem shows in `tree`, `stat` and `run --stat` besides its Figures: what has to be read for
 * all containers at one moment, and how quickly that grows. */
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

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
  /* What `run --stat` says of the time between the last two readings: "cpu 21.90 s (...)". */
  virtual std::string summary(Slot slot) const = 0;
};

}  // namespace ctnbpf
