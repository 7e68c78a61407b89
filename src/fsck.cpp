#include "ctnbpf/fsck.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "grace.h"
#include "hooks.h"

namespace ctnbpf {
namespace {

/* Where the kernel does not show the reaping of a task, a charge lasts until the task is freed, and
 * no walk finds it in between: up to 10 s where RCU is lazy (CONFIG_RCU_LAZY). Such a task still has
 * its record, so the records that no walk found are charges as well. */
void add_reaped(const State& state, const std::vector<std::uint64_t>& records,
                std::vector<std::uint64_t>& charged) {
  if (state.core().level[CTN_HOOKS_REAP] != CTN_LEVEL_NONE) return;
  for (Slot slot = CTN_MAX_HIER; slot < records.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    bool counted = false;
    for (const Subsystem* subsystem : bound_subsystems(state, node.hierarchy))
      counted = counted || subsystem->needs(CTN_HOOKS_REAP);
    if (counted && task_records(node) > records[slot]) charged[slot] += task_records(node) - records[slot];
  }
}

/* What one walk says is wrong with counters. */
Result<std::vector<std::string>> compare_with_tasks(const State& state) {
  CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
  std::vector<std::uint64_t> live(state.nodes().size());
  std::vector<std::uint64_t> records(state.nodes().size());
  std::vector<std::uint64_t> charged(state.nodes().size());
  std::vector<std::string> found;
  for (const ctn_walk_task& task : tasks) {
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
      Slot slot = task.slot[h] & ~CTN_EXITED;
      if (slot < CTN_MAX_HIER) continue;
      if (slot >= state.nodes().size() || state.nodes()[slot].state == CTN_FREE)
        found.push_back(fmt::format("task {} is in slot {}, which is not in use", task.tid, slot));
      else {
        records[slot]++;
        if ((task.slot[h] & CTN_EXITED) == 0) live[slot]++;
      }
    }
    if (task.numtasks < charged.size()) charged[task.numtasks]++;
  }
  for (Slot slot = CTN_MAX_HIER; slot < live.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.state == CTN_FREE) continue;
    if (live_tasks(node) != live[slot])
      found.push_back(fmt::format("{}: counts {} live tasks, a walk over all tasks finds {}",
                                  printable(tree::address_of(state, slot)), live_tasks(node), live[slot]));
  }
  add_reaped(state, records, charged);
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->check == nullptr || load(state.core().bound[subsystem->id]) == 0) continue;
    CTN_ASSIGN(auto wrong, subsystem->check(state, charged));
    found.insert(found.end(), wrong.begin(), wrong.end());
  }
  return found;
}

/* Only what several walks in a row say with the same figures: the rest is tasks coming and going. */
Result<std::vector<std::string>> steady_differences(const State& state) {
  constexpr int kWalks = 6;
  std::set<std::string> steady;
  for (int walk = 0; walk < kWalks; walk++) {
    CTN_ASSIGN(auto found, compare_with_tasks(state));
    std::set<std::string> now(found.begin(), found.end());
    if (walk > 0)
      std::erase_if(now, [&](const std::string& one) { return !steady.contains(one); });
    steady = std::move(now);
    if (steady.empty()) break;
    /* Dying tasks are given back a grace period later. */
    wait_for_programs();
  }
  return std::vector<std::string>(steady.begin(), steady.end());
}

/* One with containers below stays until those are removed: somebody made them on purpose. */
bool abandoned(const State& state, Slot slot) {
  const ctn_node& node = state.nodes()[slot];
  const ctn_info& info = state.infos()[slot];
  return node.state == CTN_ACTIVE && (node.flags & CTN_TRANSIENT) != 0 && node.children == 0 &&
         process_start(info.owner_pid) != info.owner_start;
}

}  // namespace

std::uint64_t process_start(std::uint32_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return 0;
  /* After the name, which may hold anything: state is field 3, start time field 22. */
  std::istringstream rest(line.substr(std::min(line.rfind(')') + 1, line.size())));
  std::string word;
  for (int field = 3; field <= 22; field++) rest >> word;
  return std::strtoull(word.c_str(), nullptr, 10);
}

std::vector<std::string> sweep_transient(Writer& writer) {
  std::vector<std::string> removed;
  for (Slot slot = CTN_MAX_HIER; slot < load(writer.core().high_slot); slot++) {
    if (!abandoned(writer, slot) || live_tasks(writer.nodes()[slot]) != 0) continue;
    std::string address = printable(tree::address_of(writer, slot));
    if (tree::remove(writer, slot, true)) removed.push_back(address);
  }
  return removed;
}

Result<FsckReport> fsck(Writer& writer, bool repair) {
  FsckReport report;
  report.problems = tree::check(writer);
  if (repair && !report.problems.empty()) {
    tree::rebuild(writer);
    report.repaired.push_back("rebuilt the lists, counts and index of the tree");
  }
  CTN_ASSIGN(auto differences, steady_differences(writer));
  report.problems.insert(report.problems.end(), differences.begin(), differences.end());

  if (!repair) {
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
      if (abandoned(writer, slot) && live_tasks(writer.nodes()[slot]) == 0)
        report.problems.push_back(fmt::format("{} was left behind by a `run` that died",
                                              printable(tree::address_of(writer, slot))));
    return report;
  }
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->repair == nullptr || writer.core().bound[subsystem->id] == 0) continue;
    CTN_ASSIGN(auto mended, subsystem->repair(writer));
    report.repaired.insert(report.repaired.end(), mended.begin(), mended.end());
  }
  for (const std::string& one : sweep_transient(writer))
    report.repaired.push_back(fmt::format("removed {}, left behind by a `run` that died", one));
  if (std::uint32_t freed = tree::sweep_lingering(writer); freed != 0)
    report.repaired.push_back(fmt::format("freed {} removed container{}", freed, freed == 1 ? "" : "s"));
  CTN_TRY(hooks::reconcile(writer));
  return report;
}

}  // namespace ctnbpf
