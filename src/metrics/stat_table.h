/* What `stat` and collectors show: columns that the subsystems' tables give, a row for each container. */
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/subsystem.h"
#include "meters.h"

namespace ctnbpf::metrics {

struct StatColumn {
  enum class Kind { kCount, kNanoseconds, kPercent, kRate };
  const Subsystem* subsystem;
  std::string key;   /* in the subsystem's object of JSON: "peak" */
  std::string name;  /* for programs, unique: "tasks_peak" */
  std::string title; /* for people: "peak" */
  std::string help;
  Kind kind = Kind::kCount;
  bool grows = false; /* and never shrinks */
  std::string
      family{}; /* for collectors, if that is not `name`: several columns may be one metric */
  std::string label{};    /* then what tells them apart: `by="rate"` */
  bool collected = false; /* for collectors alone */
};

struct StatRow { /* where in the table's pieces */
  std::size_t address;
  std::uint32_t address_size;
  std::uint32_t number; /* of the row, when it was made */
};

/* All values in one piece, and all addresses: there may be a row for each of 65,536 containers. */
struct StatTable {
  std::vector<StatColumn> columns;
  std::vector<StatRow> rows;
  std::vector<std::optional<std::uint64_t>> values;
  std::string addresses;
  std::vector<Slot> slots; /* by number of the row */

  std::string_view container(const StatRow& row) const {
    return {addresses.data() + row.address, row.address_size};
  }

  /* None: the container has no such figure. */
  const std::optional<std::uint64_t>& at(const StatRow& row, std::size_t column) const {
    return values[row.number * columns.size() + column];
  }
};

/* Columns of the subsystems that are bound to the hierarchies of `slots`. */
Result<StatTable> make_stat(const State& state, const Meters& meters,
                            const std::vector<Slot>& slots);
/* By a column's name or title, the largest first; or by "container". EINVAL names the columns. */
Result<void> sort_stat(StatTable& table, const std::string& column);

}  // namespace ctnbpf::metrics
