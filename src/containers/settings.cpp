#include "ctnbpf/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf {

Result<std::optional<std::uint32_t>> hierarchy_of_setting(const State& state,
                                                          const std::string& setting) {
  std::string attribute = setting.substr(0, setting.find('='));
  std::size_t dot = attribute.find('.');
  if (dot == std::string::npos) return std::optional<std::uint32_t>();
  CTN_ASSIGN(std::uint32_t found, tree::find_hierarchy(state, attribute.substr(0, dot)));
  return std::optional(found);
}

Result<std::vector<std::uint32_t>> hierarchies_of_settings(
    const State& state, const std::vector<std::string>& settings) {
  std::vector<std::uint32_t> out;
  for (const std::string& setting : settings) {
    CTN_ASSIGN(auto h, hierarchy_of_setting(state, setting));
    if (h && std::find(out.begin(), out.end(), *h) == out.end()) out.push_back(*h);
  }
  for (std::uint32_t h = 0; h < CTN_MAX_HIER && out.empty(); h++)
    if (tree::hierarchy_active(state, h)) out.push_back(h);
  return out;
}

Result<void> apply_settings(Writer& writer, const std::vector<Slot>& containers,
                            const std::vector<std::string>& settings, bool best_effort,
                            const char* named) {
  Settings by_slot;
  for (const std::string& setting : settings) {
    CTN_ASSIGN(auto hierarchy, hierarchy_of_setting(writer, setting));
    bool used = false;
    for (Slot slot : containers) {
      if (hierarchy && writer.nodes()[slot].hierarchy != *hierarchy) continue;
      by_slot[slot].push_back(setting);
      used = true;
    }
    if (!used)
      return Error{EINVAL,
                   fmt::format("'{}' speaks of hierarchy '{}', and no {} names a container there",
                               printable(setting),
                               tree::hierarchy_name(writer, hierarchy.value_or(0)), named)};
  }
  return set_attributes(writer, by_slot, best_effort);
}

void remove_made(Writer& writer, const std::vector<Slot>& made) {
  for (auto slot = made.rbegin(); slot != made.rend(); ++slot)
    (void)tree::remove(writer, *slot, true);
}

}  // namespace ctnbpf
