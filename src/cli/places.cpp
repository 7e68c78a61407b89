#include "places.h"

#include <fmt/format.h>

#include <map>

#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::cli {

Result<std::vector<Address>> distinct_addresses(const State& state,
                                                const std::vector<std::string>& texts) {
  std::vector<Address> addresses;
  std::map<std::uint32_t, std::string> taken;
  for (const std::string& text : texts) {
    CTN_ASSIGN(Address address, parse_address(text));
    CTN_ASSIGN(std::uint32_t hierarchy, tree::find_hierarchy(state, address.hierarchy));
    auto [other, fresh] = taken.emplace(hierarchy, address.to_string());
    if (!fresh)
      return Error{EINVAL,
                   fmt::format("{} and {} are in one hierarchy: a task can be in one container "
                               "of each only",
                               printable(other->second), printable(address.to_string()))};
    addresses.push_back(std::move(address));
  }
  return addresses;
}

std::vector<Slot> slots_of(const std::vector<Place>& places) {
  std::vector<Slot> slots;
  for (const Place& one : places) slots.push_back(one.slot);
  return slots;
}

std::string figures_text(const State& state, Slot slot) {
  std::string text;
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
    if (subsystem->figures == nullptr) continue;
    auto figures = subsystem->figures(state, slot);
    if (!figures) continue;
    text += fmt::format("  {} peak {}", figures->noun, figures->peak);
    if (figures->limit != CTN_UNLIMITED) text += fmt::format(" of {}", figures->limit);
    text += fmt::format(", {} refused", figures->refused);
  }
  return text;
}

Result<std::string> what_to_tell(const State& state, const std::vector<Place>& places) {
  std::string told;
  for (const Place& place : places)
    for (const Subsystem* subsystem :
         bound_subsystems(state, state.nodes()[place.slot].hierarchy)) {
      if (subsystem->before_exec == nullptr) continue;
      CTN_ASSIGN(std::string text, subsystem->before_exec(state, place.slot));
      if (!text.empty()) told += fmt::format("{} {}\n", subsystem->name, text);
    }
  return told;
}

void hear(const std::string& told) {
  for (std::size_t at = 0; at < told.size();) {
    std::size_t end = told.find('\n', at);
    std::string line = told.substr(at, end - at);
    std::size_t space = std::min(line.find(' '), line.size() - 1);
    if (const Subsystem* subsystem = find_subsystem(line.substr(0, space)); subsystem != nullptr)
      subsystem->in_command(line.substr(space + 1));
    at = end == std::string::npos ? told.size() : end + 1;
  }
}

}  // namespace ctnbpf::cli
