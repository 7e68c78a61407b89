#include "ctnbpf/fsck.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "ctnbpf/containers.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "service/fsck_counts.h"
#include "kernel/grace.h"
#include "containers/hooks_in_use.h"
#include "ctnbpf/namespaces.h"
#include "ctnbpf/owners.h"
#include "service/pinning.h"
#include "kernel/steady.h"

namespace ctnbpf {
namespace {

/* The kernel takes as long for a fork as it takes to copy the forker. */
constexpr auto kLongestFork = std::chrono::seconds(10);

/* Only what all of several looks say, with the same figures: the rest is tasks coming and going. */
Result<std::vector<std::string>> steady_complaints(Writer& writer) {
  using Clock = std::chrono::steady_clock;
  auto end = Clock::now() + kLongestFork;
  std::set<std::string> steady;
  UnmetTasks unmet;
  for (int looks = 1;; looks++) {
    if (looks > 1) wait_for_programs(); /* the dying are given back */
    CTN_ASSIGN(Look look, compare_counts(writer));
    std::set<std::string> now(look.complaints.begin(), look.complaints.end());
    if (looks > 1) {
      std::erase_if(now, [&](const std::string& one) { return !steady.contains(one); });
      std::erase_if(look.unmet, [&](const auto& one) { return !unmet.contains(one.first); });
    }
    steady = std::move(now);
    unmet = std::move(look.unmet);
    if (unmet.empty() ? steady.empty() || looks >= kLooks : looks >= kLooks && Clock::now() > end)
      break;
  }
  for (const auto& [address, slot] : unmet)
    steady.insert(fmt::format("{}: has a record of a task that no walk over all tasks meets",
                              printable(tree::address_of(writer, slot))));
  return std::vector<std::string>(steady.begin(), steady.end());
}

/* One with containers below stays until those are removed: somebody made them on purpose. */
bool abandoned(const State& state, Owners& owners, Slot slot) {
  const ctn_node& node = state.nodes()[slot];
  const ctn_info& info = state.infos()[slot];
  return node.state == CTN_ACTIVE && (node.flags & CTN_TRANSIENT) != 0 && node.children == 0 &&
         owners.gone(info);
}

}  // namespace

std::vector<std::string> sweep_transient(Writer& writer) {
  std::vector<std::string> removed;
  Owners owners(writer.pins());
  for (std::size_t before = 1;
       before != removed.size();) { /* a child's going may leave its parent */
    before = removed.size();
    for (Slot slot = CTN_MAX_HIER; slot < load(writer.core().high_slot); slot++) {
      if (!abandoned(writer, owners, slot) || live_tasks(writer.nodes()[slot]) != 0) continue;
      std::string address = printable(tree::address_of(writer, slot));
      if (tree::remove(writer, slot, true)) removed.push_back(address);
    }
  }
  return removed;
}

namespace {

Result<std::vector<std::string>> find_problems(Writer& writer) {
  std::vector<std::string> found = tree::check(writer);
  for (const std::string& program : missing_hooks(writer))
    found.push_back(fmt::format("program {} is needed and not attached", program));
  for (const std::string& pins : left_over_pins(writer.pins()))
    found.push_back(fmt::format("{} was left behind by an `up` or `down` that was killed", pins));
  CTN_ASSIGN(auto left, leftovers(writer, false));
  found.insert(found.end(), left.begin(), left.end());
  CTN_ASSIGN(auto differences, steady_complaints(writer));
  found.insert(found.end(), differences.begin(), differences.end());
  Owners owners(writer.pins());
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
    if (abandoned(writer, owners, slot) && live_tasks(writer.nodes()[slot]) == 0)
      found.push_back(fmt::format("{} was left behind by a `run` that died",
                                  printable(tree::address_of(writer, slot))));
  return found;
}

/* The tree first: the counts are found by it. */
Result<void> repair_all(Writer& writer, std::vector<std::string>& repaired) {
  auto add = [&](const std::vector<std::string>& more) {
    repaired.insert(repaired.end(), more.begin(), more.end());
  };
  if (!tree::check(writer).empty()) {
    store(writer.core().tree_watch, 0U);
    tree::apply_pending(writer);
    tree::rebuild(writer);
    repaired.emplace_back("rebuilt the lists, counts and index of the tree");
  }
  CTN_ASSIGN(auto counts, repair_counts(writer));
  add(counts);
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->repair == nullptr || writer.core().bound[subsystem->id] == 0) continue;
    CTN_ASSIGN(auto mended, subsystem->repair(writer));
    add(mended);
  }
  CTN_ASSIGN(auto left, leftovers(writer, true));
  CTN_ASSIGN(auto still, leftovers(writer, false));
  for (const std::string& one : left)
    if (std::find(still.begin(), still.end(), one) == still.end())
      repaired.push_back("put right: " + one);
  for (const std::string& one : sweep_transient(writer))
    repaired.push_back(fmt::format("removed {}, left behind by a `run` that died", one));
  if (std::uint32_t freed = tree::sweep_lingering(writer); freed != 0)
    repaired.push_back(fmt::format("freed {} removed container{}", freed, freed == 1 ? "" : "s"));
  for (const std::string& pins : left_over_pins(writer.pins())) {
    CTN_TRY(remove_left_over_pins(writer.pins()));
    repaired.push_back(fmt::format("removed {}", pins));
  }
  for (const std::string& program : missing_hooks(writer))
    repaired.push_back(fmt::format("attached program {}", program));
  return reconcile_hooks(writer);
}

}  // namespace

Result<FsckReport> fsck(Writer& writer, bool repair) {
  FsckReport report;
  CTN_TRY(refuse_unseen(writer, Exited::kToo));
  CTN_ASSIGN(report.problems, find_problems(writer));
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->remarks == nullptr || writer.core().bound[subsystem->id] == 0) continue;
    CTN_ASSIGN(auto said, subsystem->remarks(writer));
    report.remarks.insert(report.remarks.end(), said.begin(), said.end());
  }
  report.left = report.problems;
  if (!repair) return report;
  CTN_TRY(repair_all(writer, report.repaired));
  if (report.problems.empty()) return report;
  CTN_ASSIGN(report.left, find_problems(writer));
  return report;
}

}  // namespace ctnbpf
