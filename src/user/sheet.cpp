#include "sheet.h"

#include <fmt/format.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "files.h"

namespace ctnbpf::user {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = metrics::StatColumn::Kind;

Kind kind_named(const std::string& name) {
  if (name == "nanoseconds") return Kind::kNanoseconds;
  if (name == "percent") return Kind::kPercent;
  return name == "rate" ? Kind::kRate : Kind::kCount;
}

Error not_understood(const std::string& line) {
  return {EPROTO, fmt::format("'{}' of the mount is not understood: its server is of another "
                              "version of ctnbpf",
                              printable(line.substr(0, 80)))};
}

Result<void> take_column(std::istringstream& words, Sheet& sheet, const std::string& line) {
  std::string subsystem;
  std::string kind;
  metrics::StatColumn column = {};
  if (!(words >> subsystem >> column.key >> column.name >> kind >> column.collected >> std::ws) ||
      !std::getline(words, column.title))
    return not_understood(line);
  column.kind = kind_named(kind);
  column.subsystem = find_subsystem(subsystem);
  if (column.subsystem == nullptr) return not_understood(line);
  sheet.table.columns.push_back(std::move(column));
  return {};
}

Result<void> take_container(std::istringstream& words, Sheet& sheet, const std::string& line) {
  SheetRow row;
  if (!(words >> row.live_tasks)) return not_understood(line);
  for (std::size_t i = 0; i < sheet.table.columns.size(); i++) {
    std::string value;
    if (!(words >> value)) return not_understood(line);
    sheet.table.values.push_back(
        value == "-" ? std::nullopt
                     : std::optional<std::uint64_t>(std::strtoull(value.c_str(), nullptr, 10)));
  }
  std::string address;
  if (!std::getline(words >> std::ws, address)) return not_understood(line);
  CTN_ASSIGN(Address parsed, parse_address(address));
  row.path = parsed.path;
  address = parsed.to_string();
  sheet.table.rows.push_back({sheet.table.addresses.size(),
                              static_cast<std::uint32_t>(address.size()),
                              static_cast<std::uint32_t>(sheet.table.rows.size())});
  sheet.table.addresses += address;
  sheet.rows.push_back(std::move(row));
  return {};
}

Result<Sheet> read_sheet(const Place& top) {
  auto text = read_file(top, ".stat");
  if (!text)
    return Error{text.error().code, fmt::format("read figures of {}: {}", top.address(),
                                                std::strerror(text.error().code))};
  Sheet sheet = {top.hierarchy, {}, {}};
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "column") {
      CTN_TRY(take_column(words, sheet, line));
    } else if (what == "container") {
      CTN_TRY(take_container(words, sheet, line));
    } else if (what == "note" && !sheet.rows.empty()) {
      std::string subsystem;
      std::string note;
      words >> subsystem >> std::ws;
      std::getline(words, note);
      sheet.rows.back().notes[subsystem] = note;
    } else {
      return not_understood(line);
    }
  }
  return sheet;
}

/* The column whose growth a rate is. */
std::optional<std::size_t> grows(const metrics::StatTable& table, const metrics::StatColumn& rate) {
  for (std::size_t i = 0; i < table.columns.size(); i++)
    if (table.columns[i].subsystem == rate.subsystem && table.columns[i].kind == Kind::kNanoseconds)
      return i;
  return std::nullopt;
}

void fill_rates(const Sheet& before, Sheet& now, std::uint64_t passed) {
  std::map<std::string_view, std::size_t> known;
  for (std::size_t row = 0; row < before.rows.size(); row++)
    known.emplace(before.table.container(before.table.rows[row]), row);
  metrics::StatTable& table = now.table;
  for (std::size_t i = 0; i < table.columns.size(); i++) {
    auto from = grows(table, table.columns[i]);
    if (table.columns[i].kind != Kind::kRate || !from ||
        before.table.columns.size() != table.columns.size())
      continue;
    for (std::size_t row = 0; row < now.rows.size(); row++) {
      auto was = known.find(table.container(table.rows[row]));
      std::uint64_t used = now.at(row, *from).value_or(0);
      std::uint64_t first = was == known.end() ? 0 : before.at(was->second, *from).value_or(0);
      table.values[row * table.columns.size() + i] =
          ((used - std::min(first, used)) * 100 + passed / 2) / passed;
    }
  }
}

}  // namespace

std::vector<std::size_t> Sheet::children(std::size_t row) const {
  std::vector<std::size_t> found;
  const std::size_t depth = rows[row].path.size();
  for (std::size_t i = row + 1; i < rows.size() && rows[i].path.size() > depth; i++)
    if (rows[i].path.size() == depth + 1) found.push_back(i);
  return found;
}

Result<std::vector<Sheet>> read_sheets(const std::vector<Place>& tops, bool rates) {
  struct Timed {
    Sheet sheet;
    Clock::time_point when;
  };
  auto read = [&]() -> Result<std::vector<Timed>> {
    std::vector<Timed> all;
    for (const Place& top : tops) {
      CTN_ASSIGN(Sheet sheet, read_sheet(top));
      all.push_back({std::move(sheet), Clock::now()});
    }
    return all;
  };
  std::vector<Timed> before;
  if (rates) {
    CTN_ASSIGN(before, read());
    std::this_thread::sleep_for(std::chrono::milliseconds(100)); /* what is measured is this time */
  }
  CTN_ASSIGN(std::vector<Timed> now, read());
  std::vector<Sheet> sheets;
  for (std::size_t i = 0; i < now.size(); i++) {
    if (rates)
      fill_rates(
          before[i].sheet, now[i].sheet,
          static_cast<std::uint64_t>((now[i].when - before[i].when) / std::chrono::nanoseconds(1)));
    sheets.push_back(std::move(now[i].sheet));
  }
  return sheets;
}

}  // namespace ctnbpf::user
