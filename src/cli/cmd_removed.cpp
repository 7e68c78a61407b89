#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ctnbpf/removed.h"
#include "ctnbpf/tree.h"
#include "removed.h"
#include "table.h"
#include "value_json.h"

namespace ctnbpf::cli {
namespace {

std::string number(std::uint64_t value) {
  return value == CTN_UNLIMITED ? "max" : std::to_string(value);
}

/* What a table shows of a subsystem: its figures, or for one that has none its first attribute. Who
 * reads the CSV gets it all. */
struct Column {
  const Subsystem* subsystem;
  std::string heading;
  std::function<std::optional<std::uint64_t>(const Removed::Part&)> value;
  bool seconds = false; /* what is kept in ns */
};

std::optional<std::uint64_t> kept_value(const Removed::Part& part, const Attribute* attribute) {
  for (const auto& [one, value] : part.kept)
    if (one == attribute) return value;
  return std::nullopt;
}

std::vector<Column> columns_for(const std::vector<Removed>& rows, bool csv) {
  std::vector<Column> columns;
  for (const Subsystem* subsystem : subsystems()) {
    const Removed::Part* any = nullptr;
    for (const Removed& row : rows)
      for (const Removed::Part& part : row.parts)
        if (part.subsystem == subsystem) any = &part;
    if (any == nullptr) continue;
    if (any->figures) {
      const std::string noun(any->figures->noun);
      const std::string prefix = csv ? noun + "_" : "";
      auto add = [&](const std::string& heading, std::uint64_t Figures::*member) {
        columns.push_back({subsystem, heading,
                           [member](const Removed::Part& part) {
                             return part.figures ? std::optional(*part.figures.*member)
                                                 : std::nullopt;
                           },
                           false});
      };
      add(noun, &Figures::current);
      add(prefix + "peak", &Figures::peak);
      add(prefix + "limit", &Figures::limit);
      add(prefix + "refused", &Figures::refused);
    }
    for (const auto& [attribute, value] : any->kept) {
      if (!csv && (any->figures || attribute->kept != 1)) continue;
      columns.push_back({subsystem, fmt::format("{}.{}", subsystem->name, attribute->name),
                         [attribute = attribute](const Removed::Part& part) {
                           return kept_value(part, attribute);
                         },
                         !csv && attribute->nanoseconds});
    }
  }
  return columns;
}

void print(const std::vector<Removed>& rows, bool csv) {
  std::vector<Column> columns = columns_for(rows, csv);
  Table table(1, {"container"});
  if (csv)
    table[0].insert(table[0].end(), {"created_ns", "removed_ns", "lingering"});
  else
    table[0].emplace_back("removed");
  for (const Column& column : columns) table[0].push_back(column.heading);
  for (const Removed& row : rows) {
    std::vector<std::string> line{printable(row.address)};
    if (csv) {
      line.insert(line.end(), {std::to_string(row.created_ns), std::to_string(row.removed_ns),
                               row.lingering ? "1" : "0"});
    } else {
      auto seconds = static_cast<std::time_t>(row.removed_ns / 1'000'000'000);
      line.push_back(
          fmt::format("{:%F %T}{}", fmt::localtime(seconds), row.lingering ? " lingers" : ""));
    }
    for (const Column& column : columns) {
      std::optional<std::uint64_t> value;
      for (const Removed::Part& part : row.parts)
        if (part.subsystem == column.subsystem) value = column.value(part);
      line.push_back(value ? column.seconds ? in_seconds(*value) : number(*value) : csv ? "" : "-");
    }
    table.push_back(std::move(line));
  }
  print_table(table, csv);
}

nlohmann::ordered_json row_json(const Removed& row) {
  nlohmann::ordered_json json = {{"container", portable(row.address)},
                                 {"created_ns", row.created_ns},
                                 {"removed_ns", row.removed_ns},
                                 {"lingering", row.lingering}};
  for (const Removed::Part& part : row.parts) {
    nlohmann::ordered_json one = nlohmann::ordered_json::object();
    if (part.figures)
      one = {{"current", to_json(part.figures->current)},
             {"peak", to_json(part.figures->peak)},
             {"limit", to_json(part.figures->limit)},
             {"refused", to_json(part.figures->refused)}};
    for (const auto& [attribute, value] : part.kept) one[attribute->name] = to_json(value);
    json[part.subsystem->name] = one;
  }
  return json;
}

/* The hierarchy may be named by a subsystem bound to it, or may be gone. */
Result<std::string> canonical(const State& state, const std::string& text) {
  CTN_ASSIGN(Address address, parse_address(text));
  if (auto hierarchy = tree::find_hierarchy(state, address.hierarchy); hierarchy)
    address.hierarchy = tree::hierarchy_name(state, *hierarchy);
  return address.to_string();
}

bool is_at(const std::string& address, const std::string& top, bool recursive) {
  if (address == top) return true;
  std::string prefix = top.ends_with('/') ? top : top + "/";
  return recursive && address.starts_with(prefix);
}

}  // namespace

Result<void> show_removed(const Context& context, const std::vector<std::string>& addresses,
                          bool recursive, const std::string& format) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  std::vector<std::string> wanted;
  for (const std::string& text : addresses) {
    CTN_ASSIGN(std::string one, canonical(state, text));
    wanted.push_back(one);
  }
  CTN_ASSIGN(std::vector<Removed> rows, removed_containers(state));
  std::erase_if(rows, [&](const Removed& row) {
    return !wanted.empty() &&
           std::none_of(wanted.begin(), wanted.end(),
                        [&](const std::string& top) { return is_at(row.address, top, recursive); });
  });
  if (!context.json && format != "json") {
    print(rows, format == "csv");
    return {};
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Removed& row : rows) json.push_back(row_json(row));
  print_json(json);
  return {};
}

}  // namespace ctnbpf::cli
