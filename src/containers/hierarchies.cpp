#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "containers/hooks_in_use.h"
#include "containers/parts.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/subsystem.h"
#include "kernel/grace.h"

namespace ctnbpf::tree {
namespace {

/* Moves in this hierarchy are noted in the map `arrivals` from now on, if one of its subsystems has to do
 * something for each. */
void note_moves(Writer& writer, std::uint32_t hierarchy) {
  std::vector<const Subsystem*> all = bound_subsystems(writer, hierarchy);
  bool wanted = std::any_of(all.begin(), all.end(),
                            [](const Subsystem* one) { return one->attach != nullptr; });
  store(writer.core().hierarchies[hierarchy].notes_moves, std::uint32_t{wanted});
}

}  // namespace

Result<std::uint32_t> create_hierarchy(Writer& writer, const std::string& name,
                                       const std::vector<std::string>& wanted) {
  CTN_TRY(check_hierarchy_name(name));
  if (hierarchy_named(writer, name) < CTN_MAX_HIER)
    return Error{EEXIST, fmt::format("hierarchy '{}' exists already", name)};
  std::vector<const Subsystem*> members;
  for (const std::string& one : wanted) {
    const Subsystem* subsystem = find_subsystem(one);
    if (subsystem == nullptr)
      return Error{ENOENT, fmt::format("unknown subsystem '{}':{} `ctnbpf subsystems` lists them",
                                       printable(one), did_you_mean(one, subsystem_names()))};
    if (std::uint8_t bound = writer.core().bound[subsystem->id]; bound != 0)
      return Error{EBUSY, fmt::format("subsystem '{}' is bound to hierarchy '{}': destroy that one "
                                      "first",
                                      one, hierarchy_name(writer, bound - 1U))};
    if (std::find(members.begin(), members.end(), subsystem) == members.end())
      members.push_back(subsystem);
  }
  if (const Subsystem* other = find_subsystem(name); other != nullptr) {
    bool own = false;
    for (const Subsystem* member : members) own = own || member == other;
    if (!own)
      return Error{EINVAL, fmt::format("hierarchy '{0}' would be taken for subsystem '{0}': choose "
                                       "another name, or bind {0} to it",
                                       name)};
  }
  std::uint32_t free = 0;
  while (free < CTN_MAX_HIER && hierarchy_active(writer, free)) free++;
  if (free == CTN_MAX_HIER)
    return Error{ENOSPC, fmt::format("no room for hierarchy '{}': there can be {} (CTN_MAX_HIER); "
                                     "destroy one first",
                                     name, CTN_MAX_HIER)};

  ctn_hierarchy& hierarchy = writer.core().hierarchies[free];
  hierarchy = {};
  name.copy(hierarchy.name, CTN_HIER_NAME_MAX);
  hierarchy.created_ns = now_ns();
  ctn_node& root = writer.nodes()[free];
  root = {};
  root.parent = free;
  root.hierarchy = static_cast<std::uint8_t>(free);
  root.state = CTN_ACTIVE;
  writer.infos()[free] = {};
  set_default_ownership(writer.infos()[free]);
  if (auto bound = all_or_none(members, &Subsystem::bind, &Subsystem::unbind, writer, free);
      !bound) {
    root.state = CTN_FREE;
    return bound.error();
  }
  for (const Subsystem* member : members)
    store(writer.core().bound[member->id], static_cast<std::uint8_t>(free + 1));
  note_moves(writer, free);
  store(hierarchy.active, 1U);
  return free;
}

Result<void> destroy_hierarchy(Writer& writer, std::uint32_t hierarchy) {
  sweep_lingering(writer);
  const ctn_node& root = writer.nodes()[hierarchy];
  if (root.children != 0)
    return busy(writer, hierarchy,
                fmt::format("has {} container{} below it, first {}: remove them, or use -r",
                            root.children, root.children == 1 ? "" : "s",
                            printable(path_of(writer, children(writer, hierarchy)[0]))));
  if (root.dependants != 0)
    return busy(writer, hierarchy,
                fmt::format("has {} removed container{} still held by tasks being reaped or by "
                            "references: `ctnbpf tree --lingering` lists them",
                            root.dependants, root.dependants == 1 ? "" : "s"));
  std::vector<const Subsystem*> members = bound_subsystems(writer, hierarchy);
  store(writer.core().hierarchies[hierarchy].active, 0U);
  for (std::uint8_t& bound : writer.core().bound)
    if (bound == hierarchy + 1) store(bound, std::uint8_t{0});
  for (auto member = members.rbegin(); member != members.rend(); ++member)
    if ((*member)->unbind != nullptr) (*member)->unbind(writer, hierarchy);
  writer.nodes()[hierarchy].state = CTN_FREE;
  return reconcile_hooks(writer);
}

namespace {

/* Is all that is left of a hierarchy tasks that have exited and wait for the kernel to free them? */
bool only_dying_left(const State& state, std::uint32_t hierarchy) {
  if (state.nodes()[hierarchy].children != 0) return false;
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.hierarchy == hierarchy && node.state == CTN_REMOVED &&
        (live_tasks(node) != 0 || load(node.refs) != 0))
      return false;
  }
  return true;
}

}  // namespace

Result<void> destroy_when_free(Writer& writer, std::uint32_t hierarchy) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  Result<void> done = destroy_hierarchy(writer, hierarchy);
  while (!done && only_dying_left(writer, hierarchy) &&
         std::chrono::steady_clock::now() < deadline) {
    wait_for_programs();
    done = destroy_hierarchy(writer, hierarchy);
  }
  return done;
}

}  // namespace ctnbpf::tree
