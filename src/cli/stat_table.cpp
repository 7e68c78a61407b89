#include "stat_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ctnbpf/address.h"
#include "ctnbpf/tree.h"
#include "value_json.h"

namespace ctnbpf::cli {
namespace {

using Kind = StatColumn::Kind;

Kind kind_of(MeterColumn::Kind kind) {
  switch (kind) {
    case MeterColumn::Kind::kNanoseconds: return Kind::kNanoseconds;
    case MeterColumn::Kind::kPercent: return Kind::kPercent;
    case MeterColumn::Kind::kRate: return Kind::kRate;
  }
  return Kind::kCount;
}

/* Those of Figures, in the order of figure_values(). */
void add_figures(std::vector<StatColumn>& columns, const Subsystem& subsystem,
                 const std::string& noun) {
  columns.push_back({&subsystem, "current", noun, noun, noun + " of the subtree now"});
  columns.push_back(
      {&subsystem, "peak", noun + "_peak", "peak", "most " + noun + " the subtree ever had"});
  columns.push_back(
      {&subsystem, "limit", noun + "_limit", "limit", "most " + noun + " it may have"});
  columns.push_back({&subsystem, "refused", noun + "_refused", "refused",
                     noun + " refused by this container's limit", Kind::kCount, true});
}

std::vector<std::optional<std::uint64_t>> figure_values(const Figures& figures) {
  return {figures.current, figures.peak, figures.limit, figures.refused};
}

/* The columns of one subsystem, those of its figures first, as in its rows. */
Result<std::vector<StatColumn>> columns_of(const State& state, const Meters& meters,
                                           const Subsystem& subsystem, Slot slot) {
  std::vector<StatColumn> columns;
  if (subsystem.figures != nullptr) {
    CTN_ASSIGN(Figures figures, subsystem.figures(state, slot));
    add_figures(columns, subsystem, figures.noun);
  }
  if (const Meter* meter = meters.of(subsystem); meter != nullptr)
    for (const MeterColumn& column : meter->columns())
      columns.push_back({&subsystem, column.name, column.name, column.title, column.help,
                         kind_of(column.kind), column.kind == MeterColumn::Kind::kNanoseconds});
  return columns;
}

Result<std::vector<std::optional<std::uint64_t>>> values_of(const State& state,
                                                            const Meters& meters,
                                                            const Subsystem& subsystem, Slot slot) {
  std::vector<std::optional<std::uint64_t>> values;
  if (subsystem.figures != nullptr) {
    CTN_ASSIGN(Figures figures, subsystem.figures(state, slot));
    values = figure_values(figures);
  }
  if (const Meter* meter = meters.of(subsystem); meter != nullptr)
    for (auto value : meter->values(slot)) values.push_back(value);
  return values;
}

/* What `stat` shows first is what is limited. */
bool before(const Subsystem* a, const Subsystem* b) {
  return a->figures != nullptr && b->figures == nullptr;
}

std::string text_of(const StatColumn& column, std::uint64_t value, bool for_people) {
  if (value == CTN_UNLIMITED) return "max";
  if (for_people && column.kind == Kind::kNanoseconds)
    return fmt::format("{:.2f}", static_cast<double>(value) / 1e9);
  return std::to_string(value);
}

}  // namespace

Result<StatTable> make_stat(const State& state, const Meters& meters,
                            const std::vector<Slot>& slots) {
  StatTable table;
  std::vector<const Subsystem*> order(subsystems().begin(), subsystems().end());
  std::stable_sort(order.begin(), order.end(), before);
  for (const Subsystem* subsystem : order)
    for (Slot slot : slots) {
      if (load(state.core().bound[subsystem->id]) != state.nodes()[slot].hierarchy + 1U) continue;
      CTN_ASSIGN(auto columns, columns_of(state, meters, *subsystem, slot));
      table.columns.insert(table.columns.end(), columns.begin(), columns.end());
      break;
    }
  for (Slot slot : slots) {
    StatRow row{tree::address_of(state, slot), {}};
    for (std::size_t at = 0; at < table.columns.size(); at = row.values.size()) {
      const Subsystem* subsystem = table.columns[at].subsystem;
      auto count = std::count_if(table.columns.begin(), table.columns.end(),
                                 [&](const StatColumn& one) { return one.subsystem == subsystem; });
      std::vector<std::optional<std::uint64_t>> values;
      if (load(state.core().bound[subsystem->id]) == state.nodes()[slot].hierarchy + 1U) {
        CTN_ASSIGN(values, values_of(state, meters, *subsystem, slot));
      }
      values.resize(static_cast<std::size_t>(count));
      row.values.insert(row.values.end(), values.begin(), values.end());
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Result<void> sort_stat(StatTable& table, const std::string& column) {
  if (column == "container") {
    std::stable_sort(table.rows.begin(), table.rows.end(),
                     [](const StatRow& a, const StatRow& b) { return a.container < b.container; });
    return {};
  }
  auto found = std::find_if(table.columns.begin(), table.columns.end(), [&](const StatColumn& one) {
    return one.name == column || one.title == column;
  });
  if (found == table.columns.end()) {
    std::string names = "container";
    for (const StatColumn& one : table.columns) names += ", " + one.name;
    return Error{EINVAL, fmt::format("no column '{}': there are {}", printable(column), names)};
  }
  auto at = static_cast<std::size_t>(found - table.columns.begin());
  std::stable_sort(table.rows.begin(), table.rows.end(),
                   [&](const StatRow& a, const StatRow& b) { return a.values[at] > b.values[at]; });
  return {};
}

std::vector<std::vector<std::string>> stat_cells(const StatTable& table, bool for_people) {
  std::vector<std::vector<std::string>> lines(1, {"container"});
  for (const StatColumn& column : table.columns)
    lines[0].push_back(for_people ? column.title : column.name);
  for (const StatRow& row : table.rows) {
    std::vector<std::string> line{printable(row.container)};
    for (std::size_t i = 0; i < row.values.size(); i++)
      line.push_back(row.values[i] ? text_of(table.columns[i], *row.values[i], for_people)
                     : for_people  ? "-"
                                   : "");
    lines.push_back(std::move(line));
  }
  return lines;
}

nlohmann::ordered_json stat_json(const StatTable& table) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const StatRow& row : table.rows) {
    nlohmann::ordered_json one;
    one["container"] = row.container;
    for (std::size_t i = 0; i < row.values.size(); i++)
      if (row.values[i])
        one[table.columns[i].subsystem->name][table.columns[i].key] = to_json(*row.values[i]);
    json.push_back(one);
  }
  return json;
}

}  // namespace ctnbpf::cli
