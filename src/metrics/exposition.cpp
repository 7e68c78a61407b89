/* The OpenMetrics text format, version 1.0: all samples of a metric stand together, a metric that only
 * grows ends in _total, units are base units and part of the name. */
#include <fmt/format.h>

#include "ctnbpf/address.h"
#include "stat_table.h"
#include "text_writer.h"

namespace ctnbpf::cli {
namespace {

using Kind = StatColumn::Kind;

/* "cpu_ns" is in seconds here. */
std::string family(const StatColumn& column) {
  std::string name = column.name;
  if (column.kind == Kind::kNanoseconds && name.ends_with("_ns"))
    name.replace(name.size() - 2, 2, "seconds");
  return "ctnbpf_" + name;
}

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kLongestValue = TextWriter::kDigits + sizeof(".000000000");

char* put_value(char* to, bool is_time, std::uint64_t value) {
  if (value == CTN_UNLIMITED) return TextWriter::put(to, "+Inf");
  if (!is_time) return TextWriter::put(to, value);
  to = TextWriter::put(to, value / kSecond);
  char* end =
      TextWriter::put(to, kSecond + value % kSecond); /* with zeroes: 1.000000000 less its 1 */
  *to = '.';
  return end;
}

/* In a label's value a backslash, a quote and a line's end have a backslash before them; nothing else is
 * escaped. So the value is the name as JSON has it, or as it is printed where a terminal would obey it. */
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : harmless(text) == text ? portable(text) : printable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

/* Has none of `text` to be escaped? Without a way out of the loop, and with no type but that of a byte, so
 * that the compiler takes sixteen of them at a time. */
bool is_plain(std::string_view text) {
  unsigned char special = 0;
  for (char one : text) {
    auto c = static_cast<unsigned char>(one);
    special |= static_cast<unsigned char>((c < ' ') | (c > '~') | (c == '\\') | (c == '"'));
  }
  return special == 0;
}

/* Addresses as they stand in labels: nearly always all of them are what they are in the table. */
class Labels {
 public:
  explicit Labels(const StatTable& table) : table_(table) {
    if (is_plain(table.addresses)) return;
    for (const StatRow& row : table.rows) escaped_.push_back(escaped(table.container(row)));
  }
  std::string_view of(const StatRow& row) const {
    return escaped_.empty() ? table_.container(row) : escaped_[row.number];
  }

 private:
  const StatTable& table_;
  std::vector<std::string> escaped_; /* by row, or nothing */
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
    const std::string begin = name + (column.grows ? "_total" : "") + "{container=\"";
    constexpr std::string_view kEnd = "\"} ";
    const bool is_time = column.kind == Kind::kNanoseconds;
    const auto* values =
        table.values.data() + i; /* all of this is for some hundred thousand lines */
    const std::size_t columns = table.columns.size();
    for (const StatRow& row : table.rows) {
      const auto& value = values[row.number * columns];
      if (!value) continue;
      std::string_view label = labels.of(row);
      char* at = out.room(begin.size() + label.size() + kEnd.size() + kLongestValue + 1);
      at = TextWriter::put(at, begin);
      at = TextWriter::put(at, label);
      at = TextWriter::put(at, kEnd);
      at = put_value(at, is_time, *value);
      *at++ = '\n';
      out.wrote(at);
    }
  }
  out.text("# EOF\n");
}

}  // namespace ctnbpf::cli
