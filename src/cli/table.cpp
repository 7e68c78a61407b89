#include "table.h"

#include <fmt/format.h>

#include <algorithm>

namespace ctnbpf::cli {
namespace {

std::string csv_line(const std::vector<std::string>& cells) {
  std::string out;
  for (std::size_t i = 0; i < cells.size(); i++) out += (i ? "," : "") + csv_cell(cells[i]);
  return out;
}

}  // namespace

std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string padded(const std::string& text, std::size_t columns) {
  std::size_t have = width(text);
  return have < columns ? text + std::string(columns - have, ' ') : text;
}

std::string table_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& line : table) {
    widths.resize(std::max(widths.size(), line.size()));
    for (std::size_t i = 0; i < line.size(); i++)
      if (std::size_t columns = width(line[i]); columns <= kWidest)
        widths[i] = std::max(widths[i], columns);
  }
  std::string out;
  for (const auto& line : table) {
    for (std::size_t i = 0; i < line.size(); i++)
      out += i == 0 ? padded(line[i], widths[i])
                    : "  " + std::string(widths[i] - std::min(widths[i], width(line[i])), ' ') +
                          line[i];
    out += '\n';
  }
  return out;
}

std::string in_seconds(std::uint64_t nanoseconds) {
  return fmt::format("{:.2f}", static_cast<double>(nanoseconds) / 1e9);
}

std::string csv_cell(std::string text) {
  if (std::none_of(text.begin(), text.end(), [](char c) { return c == ',' || c == '"'; }))
    return text;
  for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '"');
  return '"' + text + '"';
}

void print_table(const Table& table, bool csv) {
  if (csv)
    for (const auto& line : table) fmt::print("{}\n", csv_line(line));
  else
    fmt::print("{}", table_text(table));
}

}  // namespace ctnbpf::cli
