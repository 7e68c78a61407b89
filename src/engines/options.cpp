#include "options.h"

#include <fmt/format.h>

#include "ctnbpf/containers.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/settings.h"

namespace ctnbpf::engines {

std::map<std::string, std::string> attributes_by_option() {
  std::map<std::string, std::string> out;
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& attribute : subsystem->attributes)
      if (attribute.run_option != nullptr && !attribute.flag)
        out[std::string(attribute.run_option).substr(2)] =
            fmt::format("{}.{}", subsystem->name, attribute.name);
  return out;
}

Result<std::vector<Slot>> parents_of(Writer& writer, const std::vector<std::string>& named,
                                     const std::vector<std::string>& settings, const char* standard,
                                     bool make) {
  std::vector<Slot> out;
  for (const std::string& address : named) {
    CTN_ASSIGN(Slot slot, tree::find(writer, address));
    out.push_back(slot);
  }
  if (!out.empty()) return out;
  CTN_ASSIGN(auto hierarchies, hierarchies_of_settings(writer, settings));
  for (std::uint32_t hierarchy : hierarchies) {
    Slot slot = tree::find_child(writer, hierarchy, standard);
    if (slot == 0 && make) {
      CTN_ASSIGN(slot, tree::create(writer, hierarchy, standard));
    }
    if (slot != 0) out.push_back(slot);
  }
  return out;
}

}  // namespace ctnbpf::engines
