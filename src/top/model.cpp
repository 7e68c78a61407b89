#include "model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "ctnbpf/address.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::top {
namespace {

using metrics::StatColumn;
using metrics::StatTable;
using Kind = StatColumn::Kind;

bool is_refused(const StatColumn& column) { return column.grows && column.kind == Kind::kCount; }

/* Refusals of a subsystem, whatever refused, are one column; peaks are for `stat`. */
bool is_shown(const StatColumn& column) { return column.key != "peak" && !column.collected; }

Column make(const StatColumn& column) {
  if (is_refused(column)) return {column.name + "_rate", "ref/s", 4};
  if (column.kind == Kind::kRate) return {column.name, column.title, 5};
  if (column.key == "limit") return {column.name, column.title, 3};
  if (column.kind == Kind::kNanoseconds) return {column.name, "cpu s", 1};
  if (column.kind == Kind::kPercent) return {column.name, column.title, 2};
  return {column.name, column.title, 6};
}

double number_of(const StatColumn& column, std::uint64_t value) {
  if (value == CTN_UNLIMITED) return std::numeric_limits<double>::infinity();
  double number = static_cast<double>(value);
  return column.kind == Kind::kNanoseconds ? number / 1e9 : number;
}

Result<std::vector<Slot>> wanted(const State& state, const std::string& address) {
  if (!address.empty()) {
    CTN_ASSIGN(Slot slot, tree::find(state, address));
    return tree::subtree(state, slot);
  }
  std::vector<Slot> all;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(state, h)) {
      auto below = tree::subtree(state, h);
      all.insert(all.end(), below.begin(), below.end());
    }
  return all;
}

}  // namespace

Result<void> Model::read() {
  CTN_ASSIGN(State state, State::open(pins_));
  CTN_TRY(meters_.read(state));
  CTN_ASSIGN(std::vector<Slot> slots, wanted(state, address_));
  CTN_ASSIGN(StatTable table, metrics::make_stat(state, meters_, slots));
  take(state, table);
  return {};
}

void Model::take(const State& state, const StatTable& table) {
  columns_.clear();
  for (const StatColumn& column : table.columns)
    if (is_shown(column)) columns_.push_back(make(column));
  const Clock::time_point now = Clock::now();
  const double passed = std::chrono::duration<double>(now - when_).count();
  const bool first = when_ == Clock::time_point{};
  std::map<Slot, Counted> counted;
  rows_.clear();
  hierarchies_ = 0;
  int top = 0;
  for (const metrics::StatRow& from : table.rows) {
    Row row;
    row.slot = table.slots[from.number];
    const ctn_node& node = state.nodes()[row.slot];
    row.generation = load(node.generation);
    row.address = table.container(from);
    if (row.slot < CTN_MAX_HIER) hierarchies_++;
    if (rows_.empty()) top = node.depth;
    row.depth = node.depth - top;
    bool is_root = row.slot < CTN_MAX_HIER || rows_.empty();
    row.name = is_root ? row.address : row.address.substr(row.address.rfind('/') + 1);

    auto found = before_.find(row.slot);
    bool known = !first && found != before_.end() && found->second.generation == row.generation;
    Counted counts{row.generation, {}};
    std::vector<std::size_t> rates; /* places of what is refused a second */
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      const StatColumn& column = table.columns[i];
      const auto& value = table.at(from, i);
      if (!is_shown(column)) {
        /* Refused by rate counts with what the limit refused, which stands before it. */
        if (column.collected && is_refused(column) && !counts.counts.empty())
          counts.counts.back() += value.value_or(0);
      } else if (is_refused(column)) {
        counts.counts.push_back(value.value_or(0));
        rates.push_back(row.values.size());
        row.values.emplace_back();
      } else {
        row.values.push_back(value ? std::optional(number_of(column, *value)) : std::nullopt);
      }
    }
    for (std::size_t i = 0; i < rates.size(); i++) {
      std::optional<double>& rate = row.values[rates[i]];
      if (known && i < found->second.counts.size() && passed > 0)
        rate = static_cast<double>(counts.counts[i] -
                                   std::min(counts.counts[i], found->second.counts[i])) /
               passed;
      else if (!known && !first) /* it was not there before */
        rate = 0.0;
    }
    counted.emplace(row.slot, std::move(counts));
    rows_.push_back(std::move(row));
  }
  before_ = std::move(counted);
  when_ = now;
}

std::vector<Row> Model::rows(const View& view) const { return arranged(rows_, columns_, view); }

std::string Model::summary() const {
  std::size_t containers = rows_.size() - hierarchies_;
  std::string text;
  if (address_.empty())
    text = fmt::format("{} {}, ", hierarchies_, hierarchies_ == 1 ? "hierarchy" : "hierarchies");
  return text + fmt::format("{} container{}", containers, containers == 1 ? "" : "s");
}

std::optional<std::size_t> find_column(const std::vector<Column>& columns,
                                       const std::string& name) {
  auto found = std::find_if(columns.begin(), columns.end(), [&](const Column& one) {
    return one.name == name || one.title == name;
  });
  if (found == columns.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns.begin());
}

std::vector<Row> arranged(const std::vector<Row>& rows, const std::vector<Column>& columns,
                          const View& view) {
  const std::optional<std::size_t> by = find_column(columns, view.column);
  auto value = [&](const Row& row) {
    constexpr double kNone = -1;
    return *by < row.values.size() ? row.values[*by].value_or(kNone) : kNone;
  };
  auto first = [&](const Row& a, const Row& b) {
    if (by) return value(a) > value(b);
    return view.tree ? a.name < b.name : a.address < b.address;
  };
  auto before = [&](std::size_t a, std::size_t b) {
    return view.reverse ? first(rows[b], rows[a]) : first(rows[a], rows[b]);
  };
  auto matches = [&](const Row& row) {
    return view.filter.empty() || row.address.find(view.filter) != std::string::npos;
  };

  std::vector<Row> out;
  if (!view.tree) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < rows.size(); i++)
      if (matches(rows[i])) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), before);
    for (std::size_t i : order) out.push_back(rows[i]);
    return out;
  }
  /* Parents come before children: so a row's parent is the last one before it that is less deep. */
  std::vector<std::vector<std::size_t>> below(rows.size() + 1); /* the last: those at the top */
  std::vector<std::size_t> path;                                /* by depth */
  std::vector<std::size_t> parent(rows.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); i++) {
    auto depth = static_cast<std::size_t>(std::max(rows[i].depth, 0));
    path.resize(std::min(path.size(), depth));
    if (!path.empty()) parent[i] = path.back();
    below[parent[i]].push_back(i);
    path.push_back(i);
  }
  std::vector<bool> shown(rows.size());
  for (std::size_t i = 0; i < rows.size(); i++)
    if (matches(rows[i]))
      for (std::size_t at = i; at < rows.size() && !shown[at]; at = parent[at]) shown[at] = true;
  std::function<void(std::size_t)> add = [&](std::size_t of) {
    std::stable_sort(below[of].begin(), below[of].end(), before);
    for (std::size_t i : below[of]) {
      if (!shown[i]) continue;
      out.push_back(rows[i]);
      add(i);
    }
  };
  add(rows.size());
  return out;
}

std::vector<std::size_t> fitting(const std::vector<Column>& columns, int width, int name) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < columns.size(); i++) kept.push_back(i);
  while (!kept.empty() && name + static_cast<int>(kept.size()) * (kCell + 1) > width)
    kept.erase(std::min_element(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
      return columns[a].worth < columns[b].worth;
    }));
  return kept;
}

std::string cell(const Column& column, const std::optional<double>& value) {
  if (!value) return "-";
  if (std::isinf(*value)) return "max";
  std::string text = column.name.ends_with("_rate") && *value > 0 && *value < 10
                         ? fmt::format("{:.1f}", *value)
                         : fmt::format("{:.0f}", *value);
  if (text.size() <= kCell) return text;
  constexpr std::string_view kUnits = "kMGTPE";
  double number = *value;
  std::size_t unit = 0;
  for (number /= 1000; number >= 100000 && unit + 1 < kUnits.size(); number /= 1000) unit++;
  return fmt::format("{:.0f}{}", number, kUnits[unit]);
}

}  // namespace ctnbpf::top
