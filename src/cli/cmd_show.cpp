/* tree, stat */
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "removed.h"
#include "table.h"
#include "value_json.h"

namespace ctnbpf::cli {
namespace {

struct TreeOptions {
  std::string address;
  bool tasks = false;
  bool all = false;
  bool lingering = false;
  int depth = CTN_MAX_DEPTH;
};

std::string cell(const Figures& figures, bool all) {
  std::string text = fmt::format("{} {}", figures.noun, figures.current);
  if (figures.limit != CTN_UNLIMITED) text += fmt::format("/{}", figures.limit);
  if (all) text += fmt::format(" (peak {}, {} refused)", figures.peak, figures.refused);
  return text;
}

class TreePrinter {
 public:
  TreePrinter(const State& state, const TreeOptions& options, std::vector<ctn_walk_task> tasks)
      : state_(state), options_(options), tasks_(std::move(tasks)) {}

  Result<void> print(Slot top) {
    std::uint32_t hierarchy = state_.nodes()[top].hierarchy;
    std::string title = top < CTN_MAX_HIER ? tree::hierarchy_name(state_, top)
                                           : printable(tree::address_of(state_, top));
    if (std::string list = subsystem_list(state_, hierarchy); !list.empty()) title += " (" + list + ")";
    Line first{title, {}};
    if (top >= CTN_MAX_HIER) {
      CTN_ASSIGN(first.figures, cells(top));
    }
    lines_.push_back(std::move(first));
    CTN_TRY(below(top, "", 0));
    print_lines();
    lines_.clear();
    return {};
  }

 private:
  struct Line {
    std::string name;
    std::vector<std::string> figures; /* one column each */
  };

  void print_lines() const {
    constexpr std::size_t kNameColumns = 17; /* at least, so that small trees line up */
    std::vector<std::size_t> columns{kNameColumns};
    for (const Line& line : lines_) {
      if (line.figures.empty()) continue;
      columns.resize(std::max(columns.size(), line.figures.size() + 1));
      columns[0] = std::max(columns[0], width(line.name));
      for (std::size_t i = 0; i < line.figures.size(); i++)
        columns[i + 1] = std::max(columns[i + 1], width(line.figures[i]));
    }
    for (const Line& line : lines_) {
      std::string text = line.name;
      std::size_t end = columns[0];
      for (std::size_t i = 0; i < line.figures.size(); i++) {
        text = padded(text, end) + "   " + line.figures[i];
        end += 3 + columns[i + 1];
      }
      fmt::print("{}\n", text);
    }
  }

  Result<std::vector<std::string>> cells(Slot slot) {
    std::vector<std::string> out;
    std::vector<std::string> notes;
    for (const Subsystem* subsystem : bound_subsystems(state_, state_.nodes()[slot].hierarchy)) {
      if (subsystem->note != nullptr) {
        CTN_ASSIGN(std::string text, subsystem->note(state_, slot));
        if (!text.empty()) notes.push_back(text);
      }
      if (subsystem->figures == nullptr) continue;
      CTN_ASSIGN(Figures figures, subsystem->figures(state_, slot));
      out.push_back(cell(figures, options_.all));
    }
    if (out.empty()) out.push_back(fmt::format("tasks {}", live_tasks(state_.nodes()[slot])));
    out.insert(out.end(), notes.begin(), notes.end());
    return out;
  }

  Result<void> below(Slot slot, const std::string& indent, int depth) {
    if (depth >= options_.depth) return {};
    std::vector<const ctn_walk_task*> members;
    std::uint32_t hierarchy = state_.nodes()[slot].hierarchy;
    if (options_.tasks && slot >= CTN_MAX_HIER)
      for (const ctn_walk_task& task : tasks_)
        if (!has_exited(task) && container_of(task, hierarchy) == slot && task.tid == task.tgid)
          members.push_back(&task);
    std::vector<Slot> children = tree::children(state_, slot);
    std::size_t left = members.size() + children.size();
    for (const ctn_walk_task* task : members) {
      std::string comm(task->comm, ::strnlen(task->comm, sizeof(task->comm)));
      lines_.push_back({fmt::format("{}{} {} {}", indent, --left ? "├─" : "└─", task->tgid,
                                    printable(comm)),
                        {}});
    }
    for (Slot child : children) {
      bool last = --left == 0;
      CTN_ASSIGN(auto figures, cells(child));
      lines_.push_back({indent + (last ? "└─ " : "├─ ") + printable(tree::name_of(state_, child)),
                        std::move(figures)});
      CTN_TRY(below(child, indent + (last ? "   " : "│  "), depth + 1));
    }
    return {};
  }

  const State& state_;
  const TreeOptions& options_;
  std::vector<ctn_walk_task> tasks_;
  std::vector<Line> lines_;
};

Result<nlohmann::ordered_json> tree_json(const State& state, Slot slot, int depth) {
  nlohmann::ordered_json json;
  json["container"] = tree::address_of(state, slot);
  json["subsystems"] = subsystem_list(state, state.nodes()[slot].hierarchy);
  if (slot >= CTN_MAX_HIER) {
    json["live_tasks"] = live_tasks(state.nodes()[slot]);
    for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
      if (subsystem->figures == nullptr) continue;
      CTN_ASSIGN(Figures figures, subsystem->figures(state, slot));
      json[subsystem->name] = {{"current", figures.current},
                               {"peak", figures.peak},
                               {"limit", to_json(figures.limit)},
                               {"refused", figures.refused}};
    }
  }
  json["children"] = nlohmann::ordered_json::array();
  if (depth > 0)
    for (Slot child : tree::children(state, slot)) {
      CTN_ASSIGN(auto below, tree_json(state, child, depth - 1));
      json["children"].push_back(below);
    }
  return json;
}

Result<void> show_lingering(const Context& context, const State& state) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (load(node.state) != CTN_REMOVED) continue;
    std::uint32_t refs = load(node.refs);
    std::uint32_t live = live_tasks(node);
    std::uint32_t dying = task_records(node) - std::min(live, task_records(node));
    if (refs + live + dying == 0 && node.dependants == 0) continue; /* about to be freed */
    std::string address = tree::address_of(state, slot);
    if (!context.json)
      fmt::print("{}   {} live, {} dying, {} references\n", printable(address), live, dying, refs);
    json.push_back({{"container", address}, {"live", live}, {"dying", dying}, {"references", refs}});
  }
  if (context.json) print_json(json);
  return {};
}

Result<void> show_tree(const Context& context, const TreeOptions& options) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  if (options.lingering) return show_lingering(context, state);
  std::vector<Slot> tops;
  if (!options.address.empty()) {
    CTN_ASSIGN(Slot top, tree::find(state, options.address));
    tops.push_back(top);
  } else {
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (tree::hierarchy_active(state, h)) tops.push_back(h);
  }
  if (context.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (Slot top : tops) {
      CTN_ASSIGN(auto one, tree_json(state, top, options.depth));
      json.push_back(one);
    }
    print_json(json);
    return {};
  }
  std::vector<ctn_walk_task> tasks;
  if (options.tasks) {
    CTN_ASSIGN(tasks, walk_tasks(context.pins()));
  }
  TreePrinter printer(state, options, std::move(tasks));
  for (Slot top : tops) CTN_TRY(printer.print(top));
  return {};
}

/* --- stat --- */

struct StatOptions {
  std::vector<std::string> addresses;
  bool recursive = false;
  bool removed = false;
  std::string format = "table";
};

struct StatRow {
  std::string container;
  std::map<std::string, Figures> figures; /* by subsystem */
};

Result<std::vector<StatRow>> collect_stat(const State& state, const StatOptions& options) {
  std::vector<Slot> slots;
  for (const std::string& address : options.addresses) {
    CTN_ASSIGN(Slot slot, tree::find(state, address));
    std::vector<Slot> all = options.recursive ? tree::subtree(state, slot) : std::vector<Slot>{slot};
    slots.insert(slots.end(), all.begin(), all.end());
  }
  if (options.addresses.empty())
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (tree::hierarchy_active(state, h)) {
        std::vector<Slot> all = tree::subtree(state, h);
        slots.insert(slots.end(), all.begin(), all.end());
      }
  std::vector<StatRow> rows;
  for (Slot slot : slots) {
    StatRow row{tree::address_of(state, slot), {}};
    for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
      if (subsystem->figures == nullptr) continue;
      CTN_ASSIGN(row.figures[subsystem->name], subsystem->figures(state, slot));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string number(std::uint64_t value) { return value == CTN_UNLIMITED ? "max" : std::to_string(value); }

void print_stat(const std::vector<StatRow>& rows, const std::vector<const Subsystem*>& columns, bool csv) {
  Table table(1, {"container"});
  for (const Subsystem* subsystem : columns) {
    /* The noun is the plural of what is counted; the table names the first column by it. */
    std::string noun = subsystem->name + std::string_view(subsystem->name).starts_with("num") * 3;
    std::string prefix = csv ? noun + "_" : "";
    for (const std::string& part : {noun, prefix + "peak", prefix + "limit", prefix + "refused"})
      table[0].push_back(part);
  }
  for (const StatRow& row : rows) {
    std::vector<std::string> line{printable(row.container)};
    for (const Subsystem* subsystem : columns) {
      auto found = row.figures.find(subsystem->name);
      if (found == row.figures.end()) {
        line.insert(line.end(), 4, csv ? "" : "-");
        continue;
      }
      const Figures& figures = found->second;
      for (const std::string& text : {number(figures.current), number(figures.peak), number(figures.limit),
                                      number(figures.refused)})
        line.push_back(text);
    }
    table.push_back(std::move(line));
  }
  print_table(table, csv);
}

Result<void> show_stat(const Context& context, const StatOptions& options) {
  if (options.removed) return show_removed(context, options.addresses, options.recursive, options.format);
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(std::vector<StatRow> rows, collect_stat(state, options));
  std::vector<const Subsystem*> columns;
  for (const Subsystem* subsystem : subsystems()) {
    bool used = std::any_of(rows.begin(), rows.end(),
                            [&](const StatRow& row) { return row.figures.contains(subsystem->name); });
    if (used) columns.push_back(subsystem);
  }
  if (!context.json && options.format != "json") {
    print_stat(rows, columns, options.format == "csv");
    return {};
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const StatRow& row : rows) {
    nlohmann::ordered_json one;
    one["container"] = row.container;
    for (const auto& [name, figures] : row.figures)
      one[name] = {{"current", to_json(figures.current)},
                   {"peak", to_json(figures.peak)},
                   {"limit", to_json(figures.limit)},
                   {"refused", to_json(figures.refused)}};
    json.push_back(one);
  }
  print_json(json);
  return {};
}

}  // namespace

void add_tree(CLI::App& app, Context& context) {
  auto options = std::make_shared<TreeOptions>();
  app.add_option("ADDR", options->address, "container to start from; none: every hierarchy");
  app.add_flag("-t,--tasks", options->tasks, "with the processes of each container");
  app.add_flag("-a,--all", options->all, "with peaks and refusals");
  app.add_option("--depth", options->depth, "how many levels")
      ->type_name("N")
      ->check(CLI::Range(0, CTN_MAX_DEPTH));
  app.add_flag("--lingering", options->lingering, "removed containers that something still holds");
  app.callback([&context, options] {
    if (auto done = show_tree(context, *options); !done) context.exit_code = fail(context, done.error());
  });
}

void add_stat(CLI::App& app, Context& context) {
  auto options = std::make_shared<StatOptions>();
  app.add_option("ADDR", options->addresses, "containers; none: all");
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.add_flag("--removed", options->removed, "removed containers, the last 1,024, with their final figures");
  app.add_option("--format", options->format, "table, json or csv")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json", "csv"}));
  app.callback([&context, options] {
    if (auto done = show_stat(context, *options); !done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
