/* tree */
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "context.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "meters.h"
#include "ctnbpf/namespaces.h"
#include "table.h"
#include "tree_print.h"
#include "value_json.h"

namespace ctnbpf::cli {

using metrics::Meters;
namespace {

struct TreeOptions {
  std::string address;
  bool tasks = false;
  bool all = false;
  bool lingering = false;
  int depth = CTN_MAX_DEPTH;
};

class TreePrinter {
 public:
  TreePrinter(const State& state, const TreeOptions& options, const Meters& meters,
              std::vector<ctn_walk_task> tasks, std::map<Slot, std::uint64_t> unseen)
      : state_(state),
        options_(options),
        meters_(meters),
        tasks_(std::move(tasks)),
        processes_(live_processes(tasks_)),
        unseen_(std::move(unseen)) {}

  Result<void> print(Slot top) {
    std::uint32_t hierarchy = state_.nodes()[top].hierarchy;
    std::string title = top < CTN_MAX_HIER ? tree::hierarchy_name(state_, top)
                                           : printable(tree::address_of(state_, top));
    if (std::string list = subsystem_list(state_, hierarchy); !list.empty())
      title += " (" + list + ")";
    TreeLine first{title, {}};
    if (top >= CTN_MAX_HIER) {
      CTN_ASSIGN(first.figures, cells(top));
    } else {
      CTN_ASSIGN(auto words, notes(top));
      for (const std::string& one : std::set<std::string>(words.begin(), words.end()))
        if (!one.empty()) first.name += ", " + one;
      first.name += levels(hierarchy);
    }
    lines_.push_back(std::move(first));
    CTN_TRY(below(top, "", 0));
    print_tree(lines_);
    lines_.clear();
    return {};
  }

 private:
  std::string levels(std::uint32_t hierarchy) const {
    std::vector<std::pair<std::string, std::uint32_t>> found;
    for (const Subsystem* subsystem : bound_subsystems(state_, hierarchy))
      found.emplace_back(subsystem->name, level_of(*subsystem, state_.core().level));
    return levels_text(found);
  }

  /* What is limited, then what moves with time, then the rest. */
  Result<std::vector<std::string>> cells(Slot slot) {
    std::vector<std::string> out;
    auto bound = bound_subsystems(state_, state_.nodes()[slot].hierarchy);
    for (const Subsystem* subsystem : bound) {
      if (subsystem->figures == nullptr) continue;
      CTN_ASSIGN(Figures figures, subsystem->figures(state_, slot));
      out.push_back(figures_cell(figures, options_.all));
    }
    if (out.empty()) out.push_back(fmt::format("tasks {}", live_tasks(state_.nodes()[slot])));
    for (const Subsystem* subsystem : bound)
      if (const Meter* meter = meters_.of(*subsystem); meter != nullptr)
        out.push_back(meter->cell(slot));
    CTN_ASSIGN(auto words, notes(slot));
    out.insert(out.end(), words.begin(), words.end());
    return out;
  }

  Result<std::vector<std::string>> notes(Slot slot) const {
    std::vector<std::string> out;
    for (const Subsystem* subsystem : bound_subsystems(state_, state_.nodes()[slot].hierarchy))
      if (subsystem->note != nullptr) {
        CTN_ASSIGN(std::string text, subsystem->note(state_, slot));
        out.push_back(printable(text));
      }
    return out;
  }

  Result<void> below(Slot slot, const std::string& indent, int depth) {
    if (depth >= options_.depth) return {};
    std::vector<const ctn_walk_task*> members;
    std::uint32_t hierarchy = state_.nodes()[slot].hierarchy;
    if (options_.tasks && slot >= CTN_MAX_HIER)
      for (const auto& [pid, task] : processes_)
        if (container_of(*task, hierarchy) == slot) members.push_back(task);
    std::vector<Slot> children = tree::children(state_, slot);
    auto unseen = unseen_.find(slot);
    std::size_t left = members.size() + (unseen == unseen_.end() ? 0 : 1) + children.size();
    for (const ctn_walk_task* task : members) {
      std::string comm(task->comm, ::strnlen(task->comm, sizeof(task->comm)));
      lines_.push_back(
          {fmt::format("{}{} {} {}", indent, --left ? "├─" : "└─", task->tgid, printable(comm)),
           {}});
    }
    if (unseen != unseen_.end())
      lines_.push_back(
          {fmt::format("{}{} ({} task{} of other pid namespaces)", indent, --left ? "├─" : "└─",
                       unseen->second, unseen->second == 1 ? "" : "s"),
           {}});
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
  const Meters& meters_;
  std::vector<ctn_walk_task> tasks_;
  std::map<std::uint32_t, const ctn_walk_task*> processes_; /* of them, by pid */
  std::map<Slot, std::uint64_t> unseen_;
  std::vector<TreeLine> lines_;
};

Result<nlohmann::ordered_json> subsystem_json(const State& state, const Meters& meters,
                                              const Subsystem& subsystem, Slot slot) {
  nlohmann::ordered_json json;
  bool counted =
      slot >= CTN_MAX_HIER; /* of a root there is only what is to be said of the hierarchy */
  if (counted && subsystem.figures != nullptr) {
    CTN_ASSIGN(Figures figures, subsystem.figures(state, slot));
    json = {{"current", figures.current},
            {"peak", figures.peak},
            {"limit", to_json(figures.limit)},
            {"refused", figures.refused}};
  }
  if (const Meter* meter = meters.of(subsystem); counted && meter != nullptr) {
    std::vector<std::optional<std::uint64_t>> values(meter->columns().size());
    meter->values(slot, values);
    for (std::size_t i = 0; i < values.size(); i++)
      if (values[i]) json[meter->columns()[i].name] = to_json(*values[i]);
  }
  if (subsystem.note != nullptr) {
    CTN_ASSIGN(std::string text, subsystem.note(state, slot));
    if (!text.empty()) json["note"] = portable(text);
  }
  return json;
}

Result<nlohmann::ordered_json> tree_json(const State& state, const Meters& meters, Slot slot,
                                         int depth) {
  nlohmann::ordered_json json;
  json["container"] = portable(tree::address_of(state, slot));
  json["subsystems"] = subsystem_list(state, state.nodes()[slot].hierarchy);
  if (slot >= CTN_MAX_HIER) json["live_tasks"] = live_tasks(state.nodes()[slot]);
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
    CTN_ASSIGN(auto one, subsystem_json(state, meters, *subsystem, slot));
    if (!one.is_null()) json[subsystem->name] = one;
  }
  json["children"] = nlohmann::ordered_json::array();
  if (depth > 0)
    for (Slot child : tree::children(state, slot)) {
      CTN_ASSIGN(auto below, tree_json(state, meters, child, depth - 1));
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
    json.push_back(
        {{"container", portable(address)}, {"live", live}, {"dying", dying}, {"references", refs}});
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
  Meters meters;
  if (load(state.core().high_slot) > CTN_MAX_HIER) CTN_TRY(meters.read_rates(state));
  if (context.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (Slot top : tops) {
      CTN_ASSIGN(auto one, tree_json(state, meters, top, options.depth));
      json.push_back(one);
    }
    print_json(json);
    return {};
  }
  std::vector<ctn_walk_task> tasks;
  std::map<Slot, std::uint64_t> unseen;
  if (options.tasks) {
    CTN_ASSIGN(tasks, walk_tasks(context.pins()));
    CTN_ASSIGN(unseen, unseen_tasks(state, [](Slot) { return true; }));
  }
  TreePrinter printer(state, options, meters, std::move(tasks), std::move(unseen));
  for (Slot top : tops) CTN_TRY(printer.print(top));
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
    if (auto done = show_tree(context, *options); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
