/* The changes to containers: making, removing and renaming them. Hierarchies are in hierarchies.cpp, looking up is in
 * tree/lookup.cpp, repair in tree/repair.cpp. */
#include "ctnbpf/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "containers/slots.h"
#include "containers/parts.h"
#include "tree/emptied.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/subsystem.h"
#include "containers/hooks_in_use.h"
#include "tree/lists.h"

namespace ctnbpf::tree {
namespace {

/* "open files", "open files or leases": whatever may hold a container of this hierarchy. */
std::string holders(const State& state, std::uint32_t hierarchy) {
  std::string out;
  for (const Subsystem* subsystem : bound_subsystems(state, hierarchy))
    if (subsystem->references != nullptr)
      out += (out.empty() ? "" : " or ") + std::string(subsystem->references);
  return out.empty() ? "a subsystem" : out;
}

}  // namespace

Result<Slot> create(Writer& writer, Slot parent, const std::string& name,
                    const std::optional<Owner>& owner) {
  CTN_TRY(check_container_name(name));
  if (find_child(writer, parent, name) != 0)
    return Error{EEXIST, fmt::format("{} exists already",
                                     printable(address_of(writer, parent) +
                                               (parent < CTN_MAX_HIER ? "" : "/") + name))};
  if (writer.nodes()[parent].depth >= CTN_MAX_DEPTH)
    return Error{E2BIG, fmt::format("cannot create '{}': containers nest at most {} deep "
                                    "(CTN_MAX_DEPTH)",
                                    printable(name), CTN_MAX_DEPTH)};
  CTN_ASSIGN(Slot slot, allocate(writer));

  ctn_node& node = writer.nodes()[slot];
  ctn_node fresh = {};
  fresh.generation = node.generation; /* is never lost, also not between two stores */
  fresh.parent = parent;
  fresh.hierarchy = writer.nodes()[parent].hierarchy;
  fresh.depth = static_cast<std::uint16_t>(writer.nodes()[parent].depth + 1);
  fresh.flags = writer.nodes()[parent].flags & CTN_NOTIFY_ON_RELEASE;
  node = fresh;
  ctn_info& info = writer.infos()[slot];
  info = {};
  info.created_ns = now_ns();
  set_default_ownership(info);
  name.copy(info.name, CTN_NAME_MAX);
  if (owner) {
    node.flags |= CTN_TRANSIENT;
    info.owner_pid = owner->pid;
    info.owner_start = owner->start;
  }

  if (auto made = all_or_none(bound_subsystems(writer, node.hierarchy), &Subsystem::create,
                              &Subsystem::destroy, writer, slot);
      !made) {
    give_back(writer, slot);
    return made.error();
  }
  store(node.state, static_cast<std::uint8_t>(CTN_ACTIVE)); /* the commit */
  lists::link(writer, slot);
  writer.core().containers++;
  /* The first container of a hierarchy: from here on its subsystems need their hooks. */
  if (parent < CTN_MAX_HIER && writer.nodes()[parent].dependants == 1) {
    if (auto ok = reconcile_hooks(writer); !ok) {
      unmake(writer, slot);
      return ok.error();
    }
  }
  return slot;
}

Result<void> remove(Writer& writer, Slot slot, bool lazy) {
  if (slot < CTN_MAX_HIER)
    return Error{EPERM,
                 fmt::format("{} is a root and cannot be removed: `ctnbpf hierarchy destroy` "
                             "removes the hierarchy",
                             address_of(writer, slot))};
  ctn_node& node = writer.nodes()[slot];
  if (node.children != 0)
    return busy(writer, slot,
                fmt::format("has {} container{} below it: use -r", node.children,
                            node.children == 1 ? "" : "s"));
  std::uint32_t live = live_tasks(node);
  if (live != 0 && !lazy)
    return busy(writer, slot,
                fmt::format("has {} live task{}: `ctnbpf kill` ends them, `ctnbpf "
                            "attach` moves them, --lazy lets it linger",
                            live, live == 1 ? "" : "s"));
  std::uint32_t refs = load(node.refs);
  if (refs != 0 && !lazy)
    return busy(writer, slot,
                fmt::format("has {} reference{} held by {}: end those, or use --lazy to "
                            "let it linger",
                            refs, refs == 1 ? "" : "s", holders(writer, node.hierarchy)));
  writer.infos()[slot].removed_ns = now_ns();
  store(node.state, static_cast<std::uint8_t>(CTN_REMOVED)); /* the commit */
  /* Whoever takes out the last task or reference now sees that it is removed, or we that nothing is left. */
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  lists::unlink(writer, slot);
  writer.core().containers--;
  writer.core().lingering++;
  Slot parent = node.parent;
  for (const Subsystem* subsystem : bound_subsystems(writer, node.hierarchy))
    if (subsystem->removed) subsystem->removed(writer, slot);
  free_if_unheld(writer, slot);
  (void)tell_if_emptied(writer, parent);
  return {};
}

std::vector<Error> remove_subtree(Writer& writer, Slot top, bool lazy) {
  std::vector<Error> in_use;
  std::vector<Slot> all = subtree(writer, top);
  for (auto slot = all.rbegin(); slot != all.rend(); ++slot) {
    if (*slot < CTN_MAX_HIER || writer.nodes()[*slot].children != 0) continue;
    if (auto gone = remove(writer, *slot, lazy); !gone) in_use.push_back(gone.error());
  }
  return in_use;
}

void unmake(Writer& writer, Slot slot) {
  writer.nodes()[slot].flags |= CTN_UNMADE;
  (void)remove(writer, slot, true);
}

Result<void> rename(Writer& writer, Slot slot, const std::string& name) {
  CTN_TRY(check_container_name(name));
  if (slot < CTN_MAX_HIER)
    return Error{EPERM,
                 fmt::format("{} is a root and has no name of its own", address_of(writer, slot))};
  ctn_node& node = writer.nodes()[slot];
  if (name_of(writer, slot) == name) return {};
  if (Slot other = find_child(writer, node.parent, name); other != 0)
    return Error{EEXIST, fmt::format("{} exists already", printable(address_of(writer, other)))};
  set_text(writer, CTN_PENDING_RENAME, slot, name);
  return {};
}

}  // namespace ctnbpf::tree
