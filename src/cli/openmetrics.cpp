/* The OpenMetrics text format, version 1.0: all samples of a metric stand together, a metric that only
 * grows ends in _total, units are base units and part of the name. */
#include <fmt/format.h>

#include "ctnbpf/address.h"
#include "stat_table.h"

namespace ctnbpf::cli {
namespace {

using Kind = StatColumn::Kind;

/* In a label's value a backslash, a quote and a line's end have a backslash before them. Bytes that are
 * no UTF-8 are printed as the rest of ctnbpf prints them. */
std::string escaped(const std::string& text) {
  std::string out;
  for (char c : printable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

/* "cpu_ns" is in seconds here. */
std::string family(const StatColumn& column) {
  std::string name = column.name;
  if (column.kind == Kind::kNanoseconds && name.ends_with("_ns"))
    name.replace(name.size() - 2, 2, "seconds");
  return "ctnbpf_" + name;
}

std::string number(const StatColumn& column, std::uint64_t value) {
  if (value == CTN_UNLIMITED) return "+Inf";
  if (column.kind == Kind::kNanoseconds)
    return fmt::format("{}.{:09}", value / 1'000'000'000, value % 1'000'000'000);
  return std::to_string(value);
}

}  // namespace

std::string stat_openmetrics(const StatTable& table) {
  std::string out;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    const StatColumn& column = table.columns[i];
    if (column.kind == Kind::kRate) continue;
    std::string name = family(column);
    out += fmt::format("# TYPE {} {}\n", name, column.grows ? "counter" : "gauge");
    if (column.kind == Kind::kNanoseconds) out += fmt::format("# UNIT {} seconds\n", name);
    out += fmt::format("# HELP {} {}\n", name, column.help);
    for (const StatRow& row : table.rows)
      if (row.values[i])
        out += fmt::format("{}{}{{container=\"{}\"}} {}\n", name, column.grows ? "_total" : "",
                           escaped(row.container), number(column, *row.values[i]));
  }
  return out + "# EOF\n";
}

}  // namespace ctnbpf::cli
