#include "stat_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/address.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::metrics {
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

/* Those of Figures, in the order of fill(). */
void add_figures(std::vector<StatColumn>& columns, const Subsystem& subsystem,
                 const std::string& noun) {
  columns.push_back({&subsystem, "current", noun, noun, noun + " of the subtree now"});
  columns.push_back(
      {&subsystem, "peak", noun + "_peak", "peak", "most " + noun + " the subtree ever had"});
  columns.push_back(
      {&subsystem, "limit", noun + "_limit", "limit", "most " + noun + " it may have"});
  columns.push_back({&subsystem, "refused", noun + "_refused", "refused",
                     noun + " refused, by what of the container refused them", Kind::kCount, true,
                     "", "by=\"limit\""});
}

/* The columns of one subsystem, those of its figures first, as in its rows. */
Result<std::vector<StatColumn>> columns_of(const State& state, const Meters& meters,
                                           const Subsystem& subsystem, Slot slot) {
  std::vector<StatColumn> columns;
  if (subsystem.figures != nullptr) {
    CTN_ASSIGN(Figures figures, subsystem.figures(state, slot));
    std::string noun(figures.noun);
    add_figures(columns, subsystem, noun);
    if (figures.refused_by_rate)
      columns.push_back({&subsystem, "refused_by_rate", noun + "_refused_by_rate", "by rate", "",
                         Kind::kCount, true, noun + "_refused", "by=\"rate\"", true});
  }
  if (const Meter* meter = meters.of(subsystem); meter != nullptr)
    for (const MeterColumn& column : meter->columns())
      columns.push_back({&subsystem, column.name, column.name, column.title, column.help,
                         kind_of(column.kind), column.kind == MeterColumn::Kind::kNanoseconds});
  return columns;
}

/* The columns of one subsystem in the table. */
struct Part {
  const Subsystem* subsystem;
  const Meter* meter;
  std::size_t first;
  std::size_t columns;
};

/* The values of one row that belong to a part. */
Result<void> fill(const State& state, const Part& part, Slot slot,
                  std::span<std::optional<std::uint64_t>> out) {
  if (part.subsystem->figures != nullptr) {
    CTN_ASSIGN(Figures figures, part.subsystem->figures(state, slot));
    out[0] = figures.current;
    out[1] = figures.peak;
    out[2] = figures.limit;
    out[3] = figures.refused;
    out = out.subspan(4);
    if (figures.refused_by_rate) {
      out[0] = figures.refused_by_rate;
      out = out.subspan(1);
    }
  }
  if (part.meter != nullptr) part.meter->values(slot, out);
  return {};
}

constexpr std::size_t kUsualAddress = 64; /* longer ones cost a copy */

/* Addresses, quickly where one container stands beside the other. */
class Addresses {
 public:
  explicit Addresses(const State& state) : state_(state) {}

  void append(Slot slot, std::string& to) {
    if (slot < CTN_MAX_HIER) {
      to += tree::address_of(state_, slot);
      return;
    }
    Slot parent = state_.nodes()[slot].parent;
    if (parent != parent_ || before_.empty()) {
      parent_ = parent;
      before_ = tree::address_of(state_, parent);
      if (!before_.ends_with('/')) before_ += '/';
    }
    to += before_;
    tree::append_name(state_, slot, to);
  }

 private:
  const State& state_;
  Slot parent_ = 0;
  std::string before_; /* the parent's address, and a slash */
};

/* What `stat` shows first is what is limited. */
bool before(const Subsystem* a, const Subsystem* b) {
  return a->figures != nullptr && b->figures == nullptr;
}

}  // namespace

Result<StatTable> make_stat(const State& state, const Meters& meters,
                            const std::vector<Slot>& slots) {
  StatTable table;
  std::vector<const Subsystem*> order(subsystems().begin(), subsystems().end());
  std::stable_sort(order.begin(), order.end(), before);
  auto is_bound = [&](const Subsystem& subsystem, Slot slot) {
    return load(state.core().bound[subsystem.id]) == state.nodes()[slot].hierarchy + 1U;
  };
  std::vector<Part> parts;
  for (const Subsystem* subsystem : order)
    for (Slot slot : slots) {
      if (!is_bound(*subsystem, slot)) continue;
      CTN_ASSIGN(auto columns, columns_of(state, meters, *subsystem, slot));
      parts.push_back({subsystem, meters.of(*subsystem), table.columns.size(), columns.size()});
      table.columns.insert(table.columns.end(), columns.begin(), columns.end());
      break;
    }
  Addresses addresses(state);
  table.rows.reserve(slots.size());
  table.addresses.reserve(slots.size() * kUsualAddress);
  table.slots = slots;
  table.values.resize(slots.size() * table.columns.size());
  std::span<std::optional<std::uint64_t>> values = table.values; /* of the rows that are left */
  for (Slot slot : slots) {
    std::size_t before = table.addresses.size();
    addresses.append(slot, table.addresses);
    table.rows.push_back({before, static_cast<std::uint32_t>(table.addresses.size() - before),
                          static_cast<std::uint32_t>(table.rows.size())});
    for (const Part& part : parts)
      if (is_bound(*part.subsystem, slot))
        CTN_TRY(fill(state, part, slot, values.subspan(part.first, part.columns)));
    values = values.subspan(table.columns.size());
  }
  return table;
}

Result<void> sort_stat(StatTable& table, const std::string& column) {
  if (column == "container") {
    std::stable_sort(table.rows.begin(), table.rows.end(), [&](const StatRow& a, const StatRow& b) {
      return table.container(a) < table.container(b);
    });
    return {};
  }
  auto found = std::find_if(table.columns.begin(), table.columns.end(), [&](const StatColumn& one) {
    return !one.collected && (one.name == column || one.title == column);
  });
  if (found == table.columns.end()) {
    std::vector<std::string> names{"container"};
    for (const StatColumn& one : table.columns)
      if (!one.collected) names.push_back(one.name);
    return Error{EINVAL, fmt::format("no column '{}':{} there are {}", printable(column),
                                     did_you_mean(column, names), fmt::join(names, ", "))};
  }
  auto at = static_cast<std::size_t>(found - table.columns.begin());
  std::stable_sort(table.rows.begin(), table.rows.end(), [&](const StatRow& a, const StatRow& b) {
    return table.at(a, at) > table.at(b, at);
  });
  return {};
}

}  // namespace ctnbpf::metrics
