#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "ctnbpf/attributes.h"
#include "kernel_machine.h"
#include "schema.h"
#include "toml.h"
#include "ctnbpf/tree.h"
#include "value_json.h"

namespace ctnbpf::layout {
namespace {

using cli::Context;

/* A number as a number, as the file has it. */
nlohmann::ordered_json value_json(const std::string& name, const std::string& value) {
  const AttributeRef* attribute = config::find_settable(name);
  if (attribute == nullptr || !config::is_number(*attribute) || value == "max") return value;
  return std::strtoull(value.c_str(), nullptr, 10);
}

nlohmann::ordered_json to_json(const config::Layout& layout) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const config::Hierarchy& hierarchy : layout.hierarchies) {
    nlohmann::ordered_json one;
    one["hierarchy"] = hierarchy.name;
    one["subsystems"] = *hierarchy.subsystems;
    one["containers"] = nlohmann::ordered_json::array();
    for (const auto& [path, container] : hierarchy.containers) {
      nlohmann::ordered_json each;
      each["container"] = portable(Address{hierarchy.name, path}.to_string());
      for (const auto& [name, setting] : container.settings)
        each[name] = value_json(name, setting.value);
      one["containers"].push_back(std::move(each));
    }
    out.push_back(std::move(one));
  }
  return out;
}

/* Those that are named, by their own names or that of a subsystem; all if none is. */
Result<config::Layout> chosen(const State& state, const std::vector<std::string>& names) {
  std::vector<std::string> wanted;
  for (const std::string& name : names) {
    CTN_ASSIGN(std::uint32_t hierarchy, tree::find_hierarchy(state, name));
    wanted.push_back(tree::hierarchy_name(state, hierarchy));
  }
  CTN_ASSIGN(config::Layout layout, config::read_layout(state));
  std::erase_if(layout.hierarchies, [&](const config::Hierarchy& one) {
    return !names.empty() && std::find(wanted.begin(), wanted.end(), one.name) == wanted.end();
  });
  return layout;
}

}  // namespace

int save(const Context& context, const std::vector<std::string>& hierarchies) {
  auto state = State::open(context.pins());
  if (!state) return cli::fail(context, state.error());
  auto layout = chosen(*state, hierarchies);
  if (!layout) return cli::fail(context, layout.error());
  if (context.json)
    cli::print_json(to_json(*layout));
  else
    fmt::print("{}", config::to_toml(*layout));
  return cli::kDone;
}

}  // namespace ctnbpf::layout
