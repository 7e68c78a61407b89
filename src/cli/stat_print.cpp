#include "stat_print.h"

#include <nlohmann/json.hpp>

#include "ctnbpf/address.h"
#include "text_writer.h"
#include "table.h"
#include "value_json.h"

namespace ctnbpf::cli {

using metrics::StatColumn;
using metrics::StatRow;
using metrics::TextWriter;

namespace {

std::string text_of(const StatColumn& column, std::uint64_t value) {
  if (value == CTN_UNLIMITED) return "max";
  if (column.kind == StatColumn::Kind::kNanoseconds) return in_seconds(value);
  return std::to_string(value);
}

}  // namespace

std::vector<std::vector<std::string>> stat_cells(const StatTable& table) {
  std::vector<std::vector<std::string>> lines(1, {"container"});
  for (const StatColumn& column : table.columns)
    if (!column.collected) lines[0].push_back(column.title);
  for (const StatRow& row : table.rows) {
    std::vector<std::string> line{printable(table.container(row))};
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      if (table.columns[i].collected) continue;
      const auto& value = table.at(row, i);
      line.push_back(value ? text_of(table.columns[i], *value) : "-");
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

void write_csv(const StatTable& table, std::FILE* file) {
  TextWriter out(file);
  out.text("container");
  for (const StatColumn& column : table.columns)
    if (!column.collected) out.text("," + column.name);
  out.character('\n');
  for (const StatRow& row : table.rows) {
    out.text(csv_cell(printable(table.container(row))));
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      if (table.columns[i].collected) continue;
      out.character(',');
      if (const auto& value = table.at(row, i)) out.number(*value, "max");
    }
    out.character('\n');
  }
}

nlohmann::ordered_json stat_json(const StatTable& table) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const StatRow& row : table.rows) {
    nlohmann::ordered_json one;
    one["container"] = portable(table.container(row));
    for (std::size_t i = 0; i < table.columns.size(); i++)
      if (const auto& value = table.at(row, i); value && !table.columns[i].collected)
        one[table.columns[i].subsystem->name][table.columns[i].key] = to_json(*value);
    json.push_back(one);
  }
  return json;
}

}  // namespace ctnbpf::cli
