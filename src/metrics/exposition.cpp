#include "exposition.h"

#include <fmt/format.h>

#include <array>

#include "ctnbpf/address.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/program_stats.h"

namespace ctnbpf::metrics {

namespace {

using Kind = StatColumn::Kind;

constexpr std::string_view kPrefix = "ctnbpf_";
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kLongestValue = TextWriter::kDigits + sizeof(".000000000");

/* `value` of `ones` to one, with all its places. */
char* put_fraction(char* to, std::uint64_t value, std::uint64_t ones) {
  to = TextWriter::put(to, value / ones);
  char* end = TextWriter::put(to, ones + value % ones); /* with zeroes: 1.000000000 less its 1 */
  *to = '.';
  return end;
}

char* put_value(char* to, Kind kind, std::uint64_t value) {
  if (value == CTN_UNLIMITED) return TextWriter::put(to, "+Inf");
  if (kind == Kind::kNanoseconds) return put_fraction(to, value, kSecond);
  if (kind == Kind::kPercent) return put_fraction(to, value, 100);
  return TextWriter::put(to, value);
}

std::string text_of(Kind kind, std::uint64_t value) {
  std::array<char, kLongestValue> text{};
  return {text.data(), put_value(text.data(), kind, value)};
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

/* "cpu_ns" is in seconds here, "load_percent" a ratio. */
std::string family_of(const StatColumn& column) {
  std::string name = column.family.empty() ? column.name : column.family;
  auto end_with = [&](std::string_view old, std::string_view unit) {
    if (name.ends_with(old)) name.replace(name.size() - old.size(), old.size(), unit);
  };
  if (column.kind == Kind::kNanoseconds) end_with("_ns", "_seconds");
  if (column.kind == Kind::kPercent) end_with("_percent", "_ratio");
  return name;
}

std::string_view unit_of(Kind kind) {
  return kind == Kind::kNanoseconds ? "seconds" : kind == Kind::kPercent ? "ratio" : "";
}

/* By enum ctn_miss. */
constexpr std::array kMisses = {
    "task_table_full", "fork_backstop", "late_exit", "file_table_full", "file_late",
    "file_lost",       "strayed",       "task_lent", "file_lent",
};
static_assert(kMisses.size() == CTN_MISS_NR);

}  // namespace

/* `hierarchy="default",path="/build"` of each row: nearly always the address as it is in the table. */
class ContainerLabels {
 public:
  explicit ContainerLabels(const StatTable& table) : table_(table) {
    if (is_plain(table.addresses)) return;
    for (const StatRow& row : table.rows) escaped_.push_back(escaped(table.container(row)));
  }

  static constexpr std::string_view kHierarchy = "hierarchy=\"", kPath = "\",path=\"", kEnd = "\"";
  std::size_t size(const StatRow& row) const {
    return kHierarchy.size() + kPath.size() + kEnd.size() + address(row).size();
  }
  char* put(char* to, const StatRow& row) const {
    std::string_view whole = address(row);
    std::size_t colon = whole.find(':'); /* no hierarchy's name has one */
    to = TextWriter::put(to, kHierarchy);
    to = TextWriter::put(to, whole.substr(0, colon));
    to = TextWriter::put(to, kPath);
    to = TextWriter::put(to, whole.substr(colon + 1));
    return TextWriter::put(to, kEnd);
  }

 private:
  std::string_view address(const StatRow& row) const {
    return escaped_.empty() ? table_.container(row) : escaped_[row.number];
  }
  const StatTable& table_;
  std::vector<std::string> escaped_; /* by row, or nothing */
};

void Exposition::family(std::string_view name, Type type, std::string_view help,
                        std::string_view unit) {
  constexpr std::array kTypes = {"gauge", "counter", "info", "histogram"};
  bool open = format_ == Format::kOpenMetrics;
  std::string whole = fmt::format("{}{}", kPrefix, name);
  std::string_view type_name = kTypes[static_cast<std::size_t>(type)];
  if (!open && type == Type::kCounter) whole += "_total";
  if (!open && type == Type::kInfo) whole += "_info", type_name = "gauge";
  out_.text(fmt::format("# HELP {} {}\n# TYPE {} {}\n", whole, help, whole, type_name));
  if (open && !unit.empty()) out_.text(fmt::format("# UNIT {} {}\n", whole, unit));
}

void Exposition::sample(std::string_view name, Labels labels, std::uint64_t value) {
  std::string line = fmt::format("{}{}", kPrefix, name);
  char before = '{';
  for (const auto& [label, text] : labels) {
    line += fmt::format("{}{}=\"{}\"", before, label, escaped(text));
    before = ',';
  }
  if (before == ',') line += '}';
  out_.text(line + " " + text_of(Kind::kCount, value) + "\n");
}

void Exposition::build(bool up, std::string_view version) {
  family("up", Type::kGauge, "is ctnbpf in the kernel of this machine");
  sample("up", {}, up ? 1 : 0);
  family("build", Type::kInfo, "the program that tells");
  sample("build_info", {{"version", version}, {"layout", std::to_string(CTN_LAYOUT)}}, 1);
}

Result<void> Exposition::machine(const State& state) {
  const ctn_core& core = state.core();
  CTN_ASSIGN(std::uint64_t tasks, table_entries(state.pins(), "task"));
  CTN_ASSIGN(std::uint64_t files, table_entries(state.pins(), "file"));
  CTN_ASSIGN(auto programs, program_stats(state.pins(), 0));

  family("level", Type::kGauge,
         "what the kernel can do for a subsystem: 3 strict, 2 fallback, 1 accounting, 0 nothing");
  for (const Subsystem* subsystem : subsystems())
    sample("level", {{"subsystem", subsystem->name}}, level_of(*subsystem, core.level));
  family("limits_can_be_passed", Type::kGauge,
         "can limits of a subsystem be passed on this kernel; `ctnbpf doctor` says how");
  for (const Subsystem* subsystem : subsystems())
    sample("limits_can_be_passed", {{"subsystem", subsystem->name}},
           caveat_of(*subsystem, state).empty() ? 0 : 1);

  struct Table {
    const char* name;
    std::uint64_t used, most;
  };
  const std::array tables = {Table{"containers", load(core.containers), core.max_containers},
                             Table{"tasks", tasks, core.max_tasks},
                             Table{"files", files, core.max_files}};
  family("table_entries", Type::kGauge, "places in use of a table in the kernel");
  for (const Table& one : tables) sample("table_entries", {{"table", one.name}}, one.used);
  family("table_size", Type::kGauge, "places of a table in the kernel");
  for (const Table& one : tables) sample("table_size", {{"table", one.name}}, one.most);
  family("lingering", Type::kGauge, "removed containers that something still refers to");
  sample("lingering", {}, load(core.lingering));

  family("misses", Type::kCounter,
         "what was missed or refused for a reason of our own; `ctnbpf doctor` explains each");
  for (int i = 0; i < CTN_MISS_NR; i++)
    sample("misses_total", {{"kind", kMisses[i]}}, load(core.misses[i]));
  family("program_skipped", Type::kCounter,
         "runs of a program that the kernel left out, as it had preempted a task inside of it");
  for (const ProgramStats& one : programs)
    sample("program_skipped_total", {{"program", one.name}, {"hook", one.hook}}, one.skipped);
  return {};
}

/* For some hundred thousand lines. */
void Exposition::column(const StatTable& table, std::size_t number, const ContainerLabels& labels) {
  const StatColumn& column = table.columns[number];
  const std::string begin =
      fmt::format("{}{}{}{{", kPrefix, family_of(column), column.grows ? "_total" : "");
  const std::string end = column.label.empty() ? "} " : "," + column.label + "} ";
  const auto* values = table.values.data() + number;
  const std::size_t columns = table.columns.size();
  for (const StatRow& row : table.rows) {
    const auto& value = values[row.number * columns];
    if (!value) continue;
    char* at = out_.room(begin.size() + labels.size(row) + end.size() + kLongestValue + 1);
    at = TextWriter::put(at, begin);
    at = labels.put(at, row);
    at = TextWriter::put(at, end);
    at = put_value(at, column.kind, *value);
    *at++ = '\n';
    out_.wrote(at);
  }
}

void Exposition::series(const Meter& meter, std::size_t number, const StatTable& table,
                        const ContainerLabels& labels) {
  const MeterSeries& one = meter.series()[number];
  const bool histogram = one.kind == MeterSeries::Kind::kHistogram;
  const std::string name = fmt::format("{}_seconds", one.name);
  family(name, histogram ? Type::kHistogram : Type::kCounter, one.help, "seconds");
  /* What stands before the labels, and between them and the value, in each of its lines. */
  struct Line {
    std::string begin, end;
  };
  auto line = [&](const char* suffix, const std::string& label) {
    return Line{fmt::format("{}{}{}{{", kPrefix, name, suffix), label + "} "};
  };
  std::vector<Line> lines;
  for (std::uint64_t bound : one.bounds)
    lines.push_back(line("_bucket", ",le=\"" + text_of(Kind::kNanoseconds, bound) + "\""));
  if (histogram)
    lines.insert(lines.end(),
                 {line("_bucket", ",le=\"+Inf\""), line("_count", ""), line("_sum", "")});
  for (const StatRow& row : table.rows) {
    auto points = meter.points(table.slots[row.number], number);
    if (points.empty()) continue;
    while (!histogram && lines.size() < points.size())
      lines.push_back(line("_total", fmt::format(",{}=\"{}\"", one.label, lines.size())));
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < (histogram ? lines.size() : points.size()); i++) {
      bool is_sum = histogram && i + 1 == lines.size();
      bool is_bucket = histogram && i <= one.bounds.size();
      if (is_bucket) count += points[i];
      std::uint64_t value = is_sum ? points.back() : histogram ? count : points[i];
      if (!histogram && value == 0) continue; /* it never ran on that CPU */
      char* at = out_.room(lines[i].begin.size() + labels.size(row) + lines[i].end.size() +
                           kLongestValue + 1);
      at = TextWriter::put(at, lines[i].begin);
      at = labels.put(at, row);
      at = TextWriter::put(at, lines[i].end);
      at = put_value(at, histogram && !is_sum ? Kind::kCount : Kind::kNanoseconds, value);
      *at++ = '\n';
      out_.wrote(at);
    }
  }
}

void Exposition::containers(const StatTable& table, const Meters& meters) {
  const ContainerLabels labels(table);
  std::vector<bool> done(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    const StatColumn& first = table.columns[i];
    if (done[i] || first.kind == Kind::kRate) continue; /* whoever collects makes his own rates */
    std::string name = family_of(first);
    family(name, first.grows ? Type::kCounter : Type::kGauge, first.help, unit_of(first.kind));
    for (std::size_t k = i; k < table.columns.size(); k++) {
      if (family_of(table.columns[k]) != name) continue;
      column(table, k, labels);
      done[k] = true;
    }
  }
  for (const Subsystem* subsystem : subsystems())
    if (const Meter* meter = meters.of(*subsystem))
      for (std::size_t i = 0; i < meter->series().size(); i++) series(*meter, i, table, labels);
}

void Exposition::end() {
  if (format_ == Format::kOpenMetrics) out_.text("# EOF\n");
}

}  // namespace ctnbpf::metrics
