/* tree, stat */
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "commands.h"
#include "files.h"
#include "sheet.h"
#include "stat_print.h"
#include "table.h"
#include "tree_print.h"
#include "value_json.h"

namespace ctnbpf::user {
namespace {

using Kind = metrics::StatColumn::Kind;

/* What a row says of one subsystem. */
class Part {
 public:
  Part(const Sheet& sheet, std::size_t row, const std::string& subsystem)
      : sheet_(sheet), row_(row), subsystem_(subsystem) {}

  std::optional<Figures> figures() const {
    Figures found = {};
    for (std::size_t i = 0; i < sheet_.table.columns.size(); i++) {
      const auto& value = value_of(i);
      if (!value) continue;
      const metrics::StatColumn& column = sheet_.table.columns[i];
      if (column.key == "current") {
        found.noun = column.name;
        found.current = *value;
      }
      if (column.key == "peak") found.peak = *value;
      if (column.key == "limit") found.limit = *value;
      if (column.key == "refused") found.refused = *value;
    }
    return found.noun.empty() ? std::nullopt : std::optional(found);
  }

  /* "cpu 182 %" */
  std::string rate() const {
    for (std::size_t i = 0; i < sheet_.table.columns.size(); i++) {
      const metrics::StatColumn& column = sheet_.table.columns[i];
      if (const auto& value = value_of(i); value && column.kind == Kind::kRate)
        return fmt::format("{} {} %", column.name.substr(0, column.name.find('_')), *value);
    }
    return "";
  }

  std::string note() const {
    auto found = sheet_.rows[row_].notes.find(subsystem_);
    return found == sheet_.rows[row_].notes.end() ? "" : found->second;
  }

  nlohmann::ordered_json json() const {
    nlohmann::ordered_json json;
    bool counted =
        !sheet_.rows[row_].path.empty(); /* of a root there is only what its hierarchy has */
    for (std::size_t i = 0; i < sheet_.table.columns.size() && counted; i++) {
      const metrics::StatColumn& column = sheet_.table.columns[i];
      if (const auto& value = value_of(i); value && !column.collected)
        json[column.key] = cli::to_json(*value);
    }
    if (std::string text = note(); !text.empty()) json["note"] = portable(from_printable(text));
    return json;
  }

 private:
  /* None: it is another subsystem's. */
  std::optional<std::uint64_t> value_of(std::size_t column) const {
    if (sheet_.table.columns[column].subsystem->name != subsystem_) return std::nullopt;
    return sheet_.at(row_, column);
  }

  const Sheet& sheet_;
  const std::size_t row_;
  const std::string& subsystem_;
};

std::string address_of(const Sheet& sheet, std::size_t row) {
  return Address{sheet.hierarchy->name, sheet.rows[row].path}.to_string();
}

class Printer {
 public:
  Printer(const Sheet& sheet, bool tasks, bool all, std::size_t depth)
      : sheet_(sheet), tasks_(tasks), all_(all), depth_(depth) {}

  void print() {
    const Hierarchy& hierarchy = *sheet_.hierarchy;
    bool root = sheet_.rows[0].path.empty();
    std::string title = root ? hierarchy.name : printable(address_of(sheet_, 0));
    if (std::string list = hierarchy.subsystem_list(); !list.empty()) title += " (" + list + ")";
    cli::TreeLine first{title, {}};
    if (root) {
      std::set<std::string> notes;
      for (const auto& [subsystem, note] : sheet_.rows[0].notes) notes.insert(note);
      for (const std::string& one : notes)
        if (!one.empty()) first.name += ", " + one;
      first.name += cli::levels_text(hierarchy.subsystems);
    } else {
      first.figures = cells(0);
    }
    lines_.push_back(std::move(first));
    below(0, "", 0);
    cli::print_tree(lines_);
  }

 private:
  /* What is limited, then what moves with time, then the rest. */
  std::vector<std::string> cells(std::size_t row) const {
    std::vector<std::string> out;
    std::vector<std::string> rates;
    std::vector<std::string> notes;
    for (const auto& [subsystem, level] : sheet_.hierarchy->subsystems) {
      Part part(sheet_, row, subsystem);
      if (auto figures = part.figures()) out.push_back(cli::figures_cell(*figures, all_));
      if (std::string rate = part.rate(); !rate.empty()) rates.push_back(rate);
      if (sheet_.rows[row].notes.contains(subsystem)) notes.push_back(part.note());
    }
    if (out.empty()) out.push_back(fmt::format("tasks {}", sheet_.rows[row].live_tasks));
    out.insert(out.end(), rates.begin(), rates.end());
    out.insert(out.end(), notes.begin(), notes.end());
    return out;
  }

  std::vector<std::string> members(std::size_t row) const {
    std::vector<std::string> found;
    if (!tasks_ || sheet_.rows[row].path.empty()) return found;
    auto text = read_file(Place{sheet_.hierarchy, sheet_.rows[row].path}, "procs");
    if (!text) return found; /* it is gone by now */
    std::istringstream numbers(*text);
    for (int number = 0; numbers >> number;) {
      auto comm = read_file(fmt::format("/proc/{}/comm", number));
      if (!comm) continue;
      found.push_back(fmt::format("{} {}", number,
                                  printable(comm->substr(0, comm->find_last_not_of('\n') + 1))));
    }
    return found;
  }

  void below(std::size_t row, const std::string& indent, std::size_t depth) {
    if (depth >= depth_) return;
    std::vector<std::string> tasks = members(row);
    std::vector<std::size_t> children = sheet_.children(row);
    std::size_t left = tasks.size() + children.size();
    for (const std::string& task : tasks)
      lines_.push_back({fmt::format("{}{} {}", indent, --left != 0 ? "├─" : "└─", task), {}});
    for (std::size_t child : children) {
      bool last = --left == 0;
      lines_.push_back({indent + (last ? "└─ " : "├─ ") + printable(sheet_.rows[child].path.back()),
                        cells(child)});
      below(child, indent + (last ? "   " : "│  "), depth + 1);
    }
  }

  const Sheet& sheet_;
  const bool tasks_;
  const bool all_;
  const std::size_t depth_;
  std::vector<cli::TreeLine> lines_;
};

nlohmann::ordered_json tree_json(const Sheet& sheet, std::size_t row, std::size_t depth) {
  nlohmann::ordered_json json;
  json["container"] = portable(address_of(sheet, row));
  json["subsystems"] = sheet.hierarchy->subsystem_list();
  if (!sheet.rows[row].path.empty()) json["live_tasks"] = sheet.rows[row].live_tasks;
  for (const auto& [subsystem, level] : sheet.hierarchy->subsystems)
    if (auto one = Part(sheet, row, subsystem).json(); !one.is_null()) json[subsystem] = one;
  json["children"] = nlohmann::ordered_json::array();
  if (depth > 0)
    for (std::size_t child : sheet.children(row))
      json["children"].push_back(tree_json(sheet, child, depth - 1));
  return json;
}

/* Those that are named, or each hierarchy's root. */
Result<std::vector<Place>> tops(const Mounts& mounts, const std::vector<std::string>& addresses) {
  std::vector<Place> found;
  for (const std::string& one : addresses) {
    CTN_ASSIGN(Place place, mounts.container(one));
    found.push_back(std::move(place));
  }
  for (const Hierarchy& one : mounts.all())
    if (addresses.empty()) found.push_back({&one, {}});
  return found;
}

/* One table of them all: hierarchies have different columns. */
metrics::StatTable joined(const std::vector<Sheet>& sheets, bool recursive) {
  metrics::StatTable all;
  std::vector<std::vector<std::size_t>> places; /* of each sheet's columns in the table */
  for (const Sheet& sheet : sheets) {
    places.emplace_back();
    for (const metrics::StatColumn& column : sheet.table.columns) {
      std::size_t at = 0;
      while (at < all.columns.size() && all.columns[at].name != column.name) at++;
      if (at == all.columns.size()) all.columns.push_back(column);
      places.back().push_back(at);
    }
  }
  for (std::size_t i = 0; i < sheets.size(); i++)
    for (std::size_t row = 0; row < (recursive ? sheets[i].rows.size() : 1); row++) {
      std::string_view address = sheets[i].table.container(sheets[i].table.rows[row]);
      all.rows.push_back({all.addresses.size(), static_cast<std::uint32_t>(address.size()),
                          static_cast<std::uint32_t>(all.rows.size())});
      all.addresses += address;
      all.values.resize(all.rows.size() * all.columns.size());
      for (std::size_t column = 0; column < places[i].size(); column++)
        all.values[(all.rows.size() - 1) * all.columns.size() + places[i][column]] =
            sheets[i].at(row, column);
    }
  return all;
}

}  // namespace

int tree(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto done = [&]() -> Result<void> {
    CTN_ASSIGN(auto wanted, tops(mounts, given.all("ADDR")));
    CTN_ASSIGN(auto sheets, read_sheets(wanted, true));
    std::string depth = given.one("--depth");
    std::size_t levels = depth.empty() ? CTN_MAX_DEPTH : std::strtoul(depth.c_str(), nullptr, 10);
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const Sheet& sheet : sheets) {
      if (sheet.rows.empty()) continue;
      if (context.json)
        json.push_back(tree_json(sheet, 0, levels));
      else
        Printer(sheet, given.has("--tasks"), given.has("--all"), levels).print();
    }
    if (context.json) cli::print_json(json);
    return {};
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

int stat(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto done = [&]() -> Result<void> {
    std::string format = context.json ? "json" : given.one("--format");
    if (format == "openmetrics" || format == "prometheus")
      return Error{EPERM, fmt::format("`ctnbpf stat --format {}` needs root", format)};
    auto addresses = given.all("ADDR");
    CTN_ASSIGN(auto wanted, tops(mounts, addresses));
    CTN_ASSIGN(auto sheets, read_sheets(wanted, true));
    metrics::StatTable table = joined(sheets, addresses.empty() || given.has("--recursive"));
    if (given.has("--sort")) CTN_TRY(metrics::sort_stat(table, given.one("--sort")));
    if (format == "json")
      cli::print_json(cli::stat_json(table));
    else if (format == "csv")
      cli::write_csv(table, stdout);
    else
      fmt::print("{}", cli::table_text(cli::stat_cells(table)));
    return {};
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

}  // namespace ctnbpf::user
