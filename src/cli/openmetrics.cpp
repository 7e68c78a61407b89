/* The OpenMetrics text format, version 1.0: all samples of a metric stand together, a metric that only
 * grows ends in _total, units are base units and part of the name. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "ctnbpf/address.h"
#include "stat_table.h"
#include "text_writer.h"

namespace ctnbpf::cli {
namespace {

using Kind = StatColumn::Kind;

/* In a label's value a backslash, a quote and a line's end have a backslash before them. Bytes that are
 * no UTF-8 are printed as the rest of ctnbpf prints them. */
std::string escaped(const std::string& text) {
  std::string out = printable(text);
  auto special = [](char c) { return c == '\\' || c == '"'; };
  if (std::none_of(out.begin(), out.end(), special)) return out;
  std::string plain = std::move(out);
  out.clear();
  for (char c : plain) {
    if (special(c)) out += '\\';
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

void write_value(TextWriter& out, const StatColumn& column, std::uint64_t value) {
  if (column.kind != Kind::kNanoseconds || value == CTN_UNLIMITED) {
    out.number(value, "+Inf");
    return;
  }
  constexpr std::uint64_t kSecond = 1'000'000'000;
  std::array<char, 10> fraction; /* with its zeroes: those of 1.000000000, whose 1 becomes the point */
  std::to_chars(fraction.begin(), fraction.end(), kSecond + value % kSecond);
  fraction[0] = '.';
  out.number(value / kSecond, "");
  out.text({fraction.data(), fraction.size()});
}

/* What stands between a sample's name and its value, by row. */
class Labels {
 public:
  explicit Labels(const StatTable& table) {
    ends_.reserve(table.rows.size());
    for (const StatRow& row : table.rows) {
      text_ += "{container=\"";
      text_ += escaped(row.container);
      text_ += "\"} ";
      ends_.push_back(text_.size());
    }
  }
  std::string_view of(std::size_t row) const {
    std::size_t begin = row == 0 ? 0 : ends_[row - 1];
    return std::string_view(text_).substr(begin, ends_[row] - begin);
  }

 private:
  std::string text_; /* of all rows, in one piece */
  std::vector<std::size_t> ends_;
};

}  // namespace

void write_openmetrics(const StatTable& table, std::FILE* file) {
  TextWriter out(file);
  const Labels labels(table);
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    const StatColumn& column = table.columns[i];
    if (column.kind == Kind::kRate) continue;
    std::string name = family(column);
    out.text(fmt::format("# TYPE {} {}\n", name, column.grows ? "counter" : "gauge"));
    if (column.kind == Kind::kNanoseconds) out.text(fmt::format("# UNIT {} seconds\n", name));
    out.text(fmt::format("# HELP {} {}\n", name, column.help));
    if (column.grows) name += "_total";
    for (std::size_t row = 0; row < table.rows.size(); row++) {
      const auto& value = table.at(table.rows[row], i);
      if (!value) continue;
      out.text(name);
      out.text(labels.of(row));
      write_value(out, column, *value);
      out.character('\n');
    }
  }
  out.text("# EOF\n");
}

}  // namespace ctnbpf::cli
