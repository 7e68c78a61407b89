/* Looking up the subsystems of this program, whose table each program is linked with. */
#include "ctnbpf/subsystem.h"

namespace ctnbpf {

const Subsystem* find_subsystem(std::string_view name) {
  for (const Subsystem* subsystem : subsystems())
    if (name == subsystem->name) return subsystem;
  return nullptr;
}

std::vector<std::string> subsystem_names() {
  std::vector<std::string> names;
  for (const Subsystem* subsystem : subsystems()) names.emplace_back(subsystem->name);
  return names;
}

Result<std::vector<std::string>> leftovers(const State& state, bool remove) {
  std::vector<std::string> found;
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->leftovers == nullptr) continue;
    CTN_ASSIGN(auto its, subsystem->leftovers(state, remove));
    found.insert(found.end(), its.begin(), its.end());
  }
  return found;
}

std::vector<const Subsystem*> bound_subsystems(const State& state, std::uint32_t hierarchy) {
  std::vector<const Subsystem*> out;
  for (const Subsystem* subsystem : subsystems())
    if (load(state.core().bound[subsystem->id]) == hierarchy + 1) out.push_back(subsystem);
  return out;
}

std::string subsystem_list(const State& state, std::uint32_t hierarchy) {
  std::string out;
  for (const Subsystem* subsystem : bound_subsystems(state, hierarchy))
    out += (out.empty() ? "" : ",") + std::string(subsystem->name);
  return out;
}

}  // namespace ctnbpf
