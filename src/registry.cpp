/* The subsystems that are shipped, in the order in which everything calls them; and looking them up. */
#include <array>

#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "cpuacct/cpuacct_ops.h"
#include "cpuset/cpuset_ops.h"
#include "memset/memset_ops.h"
#include "numfiles/numfiles_ops.h"
#include "numtasks/numtasks_ops.h"

namespace ctnbpf {

std::span<const Subsystem* const> shipped_subsystems() {
  static constexpr std::array kTable = {
      &kCpuset, &kMemset, &kCpuacct, &kNumtasks, &kNumfiles,
  };
  return kTable;
}

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
