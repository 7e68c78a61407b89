/* What `stat` shows: columns that the subsystems' tables give, a row for each container. */
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/subsystem.h"
#include "meters.h"

namespace ctnbpf::cli {

struct StatColumn {
  enum class Kind { kCount, kNanoseconds, kPercent, kRate };
  const Subsystem* subsystem;
  std::string key;   /* in the subsystem's object of JSON: "peak" */
  std::string name;  /* for programs, unique: "tasks_peak" */
  std::string title; /* for people: "peak" */
  std::string help;
  Kind kind = Kind::kCount;
  bool grows = false; /* and never shrinks */
};

struct StatRow {
  std::string container;                            /* address */
  std::vector<std::optional<std::uint64_t>> values; /* by column; none: has no such figure */
};

struct StatTable {
  std::vector<StatColumn> columns;
  std::vector<StatRow> rows;
};

/* Columns of the subsystems that are bound to the hierarchies of `slots`. */
Result<StatTable> make_stat(const State& state, const Meters& meters,
                            const std::vector<Slot>& slots);
/* By a column's name or title, the largest first; or by "container". EINVAL names the columns. */
Result<void> sort_stat(StatTable& table, const std::string& column);

/* Lines of text, the headings first, for people (units as people like them) or for programs. */
std::vector<std::vector<std::string>> stat_cells(const StatTable& table, bool for_people);
nlohmann::ordered_json stat_json(const StatTable& table);
/* The OpenMetrics text format, without rates: whoever collects it makes his own. */
std::string stat_openmetrics(const StatTable& table);

}  // namespace ctnbpf::cli
