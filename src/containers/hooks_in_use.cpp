#include "containers/hooks_in_use.h"

#include <algorithm>
#include <vector>

#include "ctnbpf/subsystem.h"
#include "kernel/hooks.h"
#include "kernel/object_table.h"

namespace ctnbpf {
namespace {

hooks::Need need_of(const State& state) {
  hooks::Need need{.groups = 0, .levels = state.core().level, .keep = state.core().keep_hooks != 0};
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (state.core().hierarchies[h].active == 0 || state.nodes()[h].dependants == 0) continue;
    need.groups |= 1U << CTN_HOOKS_TASK;
    for (const Subsystem* subsystem : bound_subsystems(state, h)) need.groups |= subsystem->hooks;
  }
  return need;
}

/* Records that were left when the hooks went: their objects may be gone and their addresses
 * used by others. Nothing is pinned as attached; a program that still runs has something in a table,
 * as without a record of their task the programs do nothing. */
Result<void> clear_tables(const Pins& pins) {
  std::vector<ObjectTable> all;
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(pins, "task", sizeof(ctn_task), true));
  all.push_back(std::move(tasks));
  for (const Subsystem* subsystem : subsystems())
    for (const KernelTable& one : subsystem->tables) {
      CTN_ASSIGN(ObjectTable table, ObjectTable::open(pins, one.name, one.record_size, true));
      all.push_back(std::move(table));
    }
  if (std::none_of(all.begin(), all.end(), [](const auto& one) { return one.in_use(); })) return {};
  hooks::wait_until_detached(pins);
  for (ObjectTable& table : all) table.clear();
  return {};
}

}  // namespace

Result<void> reconcile_hooks(Writer& writer) {
  return hooks::reconcile(writer.pins(), need_of(writer), clear_tables);
}

std::vector<std::string> missing_hooks(const State& state) {
  return hooks::missing(state.pins(), need_of(state));
}

}  // namespace ctnbpf
