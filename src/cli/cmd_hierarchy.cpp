/* hierarchy create|list|destroy, subsystems */
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::cli {
namespace {

struct Options {
  std::string name;
  std::optional<std::string> subsystems;
  std::vector<std::string> settings;
  std::map<std::string, std::string> by_option; /* "--placement" -> its value, where it is given */
  bool best_effort = false;
  bool recursive = false;
};

/* What an option of `create` sets in the root: an attribute of each subsystem that knows it. */
std::vector<std::string> settings_of(const State& state, std::uint32_t hierarchy,
                                     const std::string& option, const std::string& value) {
  std::vector<std::string> out;
  for (const Subsystem* subsystem : bound_subsystems(state, hierarchy))
    for (const Attribute& attribute : subsystem->attributes)
      if (attribute.hierarchy_option != nullptr && option == attribute.hierarchy_option)
        out.push_back(fmt::format("{}.{}={}", subsystem->name, attribute.name, value));
  return out;
}

Result<void> create(const Context& context, const Options& options) {
  std::string subsystems = options.subsystems.value_or("");
  std::vector<std::string> names;
  for (std::size_t at = 0; at < subsystems.size();) {
    std::size_t comma = std::min(subsystems.find(',', at), subsystems.size());
    if (comma > at) names.push_back(subsystems.substr(at, comma - at));
    at = comma + 1;
  }
  if (options.subsystems && names.empty())
    return Error{
        EINVAL,
        fmt::format("-o '{}' names no subsystem: leave it out for a hierarchy that only groups",
                    printable(subsystems))};
  CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kBare));
  CTN_ASSIGN(std::uint32_t hierarchy, tree::create_hierarchy(writer, options.name, names));
  std::vector<std::string> settings;
  for (const auto& [option, value] : options.by_option) {
    auto own = settings_of(writer, hierarchy, option, value);
    if (own.empty())
      note(fmt::format("{} has no effect: no subsystem of '{}' knows it", option, options.name));
    settings.insert(settings.end(), own.begin(), own.end());
  }
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  auto ok = set_attributes(writer, hierarchy, settings, options.best_effort);
  if (!ok) (void)tree::destroy_hierarchy(writer, hierarchy);
  return ok;
}

/* All that was in the way; nothing if it is gone. */
std::vector<Error> destroy(const Context& context, const std::string& name, bool recursive) {
  auto writer = open_writer(context);
  if (!writer) return {writer.error()};
  std::uint32_t hierarchy = tree::hierarchy_named(*writer, name);
  if (hierarchy == CTN_MAX_HIER)
    return {{ENOENT, fmt::format("no hierarchy '{}': `ctnbpf hierarchy list` shows what there is",
                                 printable(name))}};
  if (recursive)
    if (auto in_use = tree::remove_subtree(*writer, hierarchy, false); !in_use.empty())
      return in_use;
  if (auto done = tree::destroy_when_free(*writer, hierarchy); !done) return {done.error()};
  return {};
}

Result<void> list(const Context& context) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    std::size_t containers = tree::subtree(state, h).size() - 1;
    if (!context.json) {
      fmt::print("{:<20} {:<40} {} container{}\n", tree::hierarchy_name(state, h),
                 subsystem_list(state, h), containers, containers == 1 ? "" : "s");
      continue;
    }
    nlohmann::ordered_json one;
    one["name"] = tree::hierarchy_name(state, h);
    one["subsystems"] = nlohmann::ordered_json::array();
    for (const Subsystem* subsystem : bound_subsystems(state, h))
      one["subsystems"].push_back(subsystem->name);
    one["containers"] = containers;
    json.push_back(one);
  }
  if (context.json) print_json(json);
  return {};
}

nlohmann::ordered_json attributes_json(const std::vector<AttributeRef>& attributes) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const AttributeRef& one : attributes)
    json.push_back({{"name", one.full_name},
                    {"writable", one.attribute->prepare != nullptr},
                    {"help", one.attribute->help}});
  return json;
}

void print_attributes(const std::vector<AttributeRef>& attributes) {
  for (const AttributeRef& one : attributes)
    fmt::print("  {:<26} {:<3} {}\n", one.full_name,
               one.attribute->prepare != nullptr ? "rw" : "ro", one.attribute->help);
}

Result<void> list_subsystems(const Context& context, bool attributes) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Subsystem* subsystem : subsystems()) {
    std::uint8_t bound = load(state.core().bound[subsystem->id]);
    std::string hierarchy = bound == 0 ? "-" : tree::hierarchy_name(state, bound - 1U);
    const char* its_level = level_name(level_of(*subsystem, state.core().level));
    std::vector<AttributeRef> own;
    for (const Attribute& attribute : subsystem->attributes)
      own.push_back({subsystem, &attribute, fmt::format("{}.{}", subsystem->name, attribute.name)});
    if (!context.json) {
      fmt::print("{:<10} {:<12} {:<11} {}\n", subsystem->name, hierarchy, its_level,
                 subsystem->help);
      if (attributes) print_attributes(own);
      continue;
    }
    nlohmann::ordered_json one;
    one["name"] = subsystem->name;
    one["hierarchy"] = bound == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(hierarchy);
    one["level"] = its_level;
    one["help"] = subsystem->help;
    if (attributes) one["attributes"] = attributes_json(own);
    json.push_back(one);
  }
  if (context.json) {
    print_json(json);
  } else if (attributes) {
    fmt::print("every container, whatever is bound to its hierarchy\n");
    print_attributes(core_attributes());
  }
  return {};
}

}  // namespace

void add_hierarchy(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  auto finish = [&context](const Result<void>& done) {
    if (!done) context.exit_code = fail(context, with_cure(done.error()));
  };
  app.require_subcommand(1);

  CLI::App* make = app.add_subcommand("create", "make a hierarchy; every task is in its root");
  make->add_option("NAME", options->name, "name of the hierarchy")->required();
  make->add_option_function<std::string>(
          "-o", [options](const std::string& names) { options->subsystems = names; },
          "subsystems to bind; none: it only groups")
      ->type_name("SUBSYS,...");
  make->add_option("-s", options->settings, "set an attribute of the hierarchy")
      ->type_name("ATTR=VALUE")
      ->allow_extra_args(false);
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& attribute : subsystem->attributes) {
      if (attribute.hierarchy_option == nullptr) continue;
      const std::string name = attribute.hierarchy_option;
      if (make->get_option_no_throw(name) != nullptr) continue; /* of a subsystem before it */
      auto give = [options, name](const std::string& value) { options->by_option[name] = value; };
      if (attribute.flag)
        make->add_flag_callback(
            name, [give] { give("1"); }, attribute.help);
      else
        make->add_option_function<std::string>(name, give, attribute.help)->type_name("VALUE");
    }
  make->add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  make->footer(
      "Examples:\n"
      "  ctnbpf hierarchy create limits -o numtasks\n"
      "  ctnbpf hierarchy create groups          (binds nothing: it only groups)\n"
      "  ctnbpf hierarchy create place -o cpuset,memset --placement affinity\n"
      "--placement says how tasks are kept on their CPUs and nodes: `cgroup` by groups of the\n"
      "kernel's cpuset controller, `affinity` by their own masks and memory policies, in no group;\n"
      "`auto` takes groups, and leaves tasks there whose group a service manager made or has limits.");
  make->callback([=, &context] { finish(create(context, *options)); });

  CLI::App* show = app.add_subcommand("list", "list the hierarchies");
  show->callback([=, &context] { finish(list(context)); });

  CLI::App* kill = app.add_subcommand("destroy", "remove a hierarchy; its subsystems become free");
  kill->add_option("HIER", options->name, "name of the hierarchy")->required();
  kill->add_flag("-r,--recursive", options->recursive, "remove its containers first");
  kill->footer(
      "-r removes all containers that can go, as `rm -r` does, and names each that is in use; then\n"
      "the hierarchy stays.");
  kill->callback([=, &context] {
    Failures failures(context);
    for (const Error& error : destroy(context, options->name, options->recursive))
      failures.add(with_cure(error));
    context.exit_code = failures.finish();
  });
}

void add_subsystems(CLI::App& app, Context& context) {
  auto attributes = std::make_shared<bool>(false);
  app.add_flag("--attributes", *attributes, "list each attribute");
  app.callback([&context, attributes] {
    if (auto done = list_subsystems(context, *attributes); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
