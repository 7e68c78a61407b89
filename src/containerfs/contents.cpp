#include "contents.h"

#include <fmt/format.h>

#include <climits>
#include <iterator>
#include <set>

#include "ctnbpf/attributes.h"
#include "answers.h"
#include "ctnbpf/address.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "numbers.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::containerfs {
namespace {

Result<std::string> members(const State& state, Slot slot, bool threads, const Client& client) {
  CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
  const std::uint32_t hierarchy = state.nodes()[slot].hierarchy;
  std::set<std::uint32_t> found;
  for (const ctn_walk_task& task : tasks)
    if (!has_exited(task) && container_of(task, hierarchy) == slot)
      found.insert(threads ? task.tid : task.tgid);
  Numbers numbers = Numbers::of(client.thread);
  std::set<pid_t> shown;
  for (std::uint32_t one : found)
    if (auto number = numbers.theirs(static_cast<pid_t>(one))) shown.insert(*number);
  std::string text;
  for (pid_t one : shown) fmt::format_to(std::back_inserter(text), "{}\n", one);
  return text;
}

bool populated(const State& state, Slot top) {
  for (Slot slot : tree::subtree(state, top, tree::Order::kAny))
    if (live_tasks(state.nodes()[slot]) != 0) return true;
  return false;
}

/* As a number that a program of OpenVZ's days can read. */
std::uint64_t as_long(std::uint64_t value) {
  return std::min(value, static_cast<std::uint64_t>(LONG_MAX));
}

/* OpenVZ's text: a container has no number there but this, which is its slot. */
Result<std::string> user_beancounters(const State& state, const Style& style) {
  std::string text = "Version: 2.5\n";
  fmt::format_to(std::back_inserter(text), "{:>10}  {:<12} {:>20} {:>20} {:>20} {:>20} {:>20}\n",
                 "uid", "resource", "held", "maxheld", "barrier", "limit", "failcnt");
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    if (!style.hierarchy.empty() && tree::hierarchy_name(state, h) != style.hierarchy) continue;
    for (Slot slot : tree::subtree(state, h)) {
      if (slot < CTN_MAX_HIER) continue;
      std::string id = fmt::format("{}:", slot);
      for (const Subsystem* subsystem : bound_subsystems(state, h)) {
        if (subsystem->beancounter == nullptr) continue;
        CTN_ASSIGN(Figures figures, subsystem->figures(state, slot));
        fmt::format_to(std::back_inserter(text),
                       "{:>10}  {:<12} {:>20} {:>20} {:>20} {:>20} {:>20}\n", id,
                       subsystem->beancounter, as_long(figures.current), as_long(figures.peak),
                       as_long(figures.limit), as_long(figures.admin_limit.value_or(figures.limit)),
                       figures.refused + figures.refused_by_rate.value_or(0));
        id.clear(); /* on its first line only */
      }
    }
  }
  return text;
}

}  // namespace

std::string events_of(const State& state, Slot slot) {
  /* Who never moved is in the root, which has no count of them. */
  bool any = slot < CTN_MAX_HIER || populated(state, slot);
  std::string text = fmt::format("populated {}\n", any ? 1 : 0);
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
    if (subsystem->refusals == nullptr) continue;
    auto figures = subsystem->figures(state, slot);
    if (figures)
      text += fmt::format("{} {}\n", subsystem->refusals,
                          figures->refused + figures->refused_by_rate.value_or(0));
  }
  return text;
}

Result<std::string> contents(const Layout& layout, const Style& style, const Inode& inode,
                             const Client& client) {
  const State& state = layout.state();
  switch (inode.file) {
    case kTasks: return members(state, inode.slot, true, client);
    case kProcs: return members(state, inode.slot, false, client);
    case kEvents: return events_of(state, inode.slot);
    case kUserBeancounters: return user_beancounters(state, style);
    case kStat: return stat_text(state, inode.slot, client);
    case kAttributes: return attributes_text(state, inode.slot);
    case kExec: return exec_text(state, inode.slot);
    case kHierarchies: return hierarchies_text(state, style);
    default: break;
  }
  auto ref = Layout::attribute(inode);
  if (!ref) return Error{ENODEV, "there is no such file any more"};
  CTN_ASSIGN(Value value, ref->attribute->read(state, inode.slot));
  return printable(to_string(value)) + "\n";
}

}  // namespace ctnbpf::containerfs
