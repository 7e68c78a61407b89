/* Hierarchies, and the changes to containers. Looking up is in tree_lookup.cpp, repair in
 * tree_repair.cpp. */
#include "ctnbpf/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "ctnbpf/events.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/subsystem.h"
#include "hooks.h"
#include "tree_lists.h"
#include "walk.h"

namespace ctnbpf::tree {
namespace {

std::uint64_t now_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Error busy(const State& state, Slot slot, const std::string& reason) {
  return {EBUSY, fmt::format("{} {}", printable(address_of(state, slot)), reason)};
}

/* "open files", "open files or leases": whatever may hold a container of this hierarchy. */
std::string holders(const State& state, std::uint32_t hierarchy) {
  std::string out;
  for (const Subsystem* subsystem : bound_subsystems(state, hierarchy))
    if (subsystem->references != nullptr)
      out += (out.empty() ? "" : " or ") + std::string(subsystem->references);
  return out.empty() ? "a subsystem" : out;
}

/* Has each of `members` call `first`; when one fails, those before it call `undo`, last one first. */
Result<void> all_or_none(const std::vector<const Subsystem*>& members,
                         Result<void> (*Subsystem::*first)(Writer&, Slot),
                         void (*Subsystem::*undo)(Writer&, Slot), Writer& writer, Slot slot) {
  for (std::size_t i = 0; i < members.size(); i++) {
    if (members[i]->*first == nullptr) continue;
    Result<void> done = (members[i]->*first)(writer, slot);
    if (done) continue;
    std::string name = members[i]->name;
    while (i-- > 0)
      if (members[i]->*undo != nullptr) (members[i]->*undo)(writer, slot);
    return done.error().within(fmt::format("subsystem {}", name));
  }
  return {};
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
  return hooks::reconcile(writer);
}

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
  CTN_ASSIGN(Slot slot, lists::allocate(writer));

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
    lists::give_back(writer, slot);
    return made.error();
  }
  store(node.state, static_cast<std::uint8_t>(CTN_ACTIVE)); /* the commit */
  lists::link(writer, slot);
  writer.core().containers++;
  /* The first container of a hierarchy: from here on its subsystems need their hooks. */
  if (parent < CTN_MAX_HIER && writer.nodes()[parent].dependants == 1) {
    if (auto ok = hooks::reconcile(writer); !ok) {
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
  lists::free_if_unheld(writer, slot);
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

void set_text(Writer& writer, ctn_pending what, std::uint32_t index, const std::string& text) {
  ctn_pending_text& pending = writer.core().pending;
  pending.index = index;
  std::memset(pending.text, 0, sizeof(pending.text));
  text.copy(pending.text, CTN_NAME_MAX);
  store(pending.what, static_cast<std::uint32_t>(what)); /* the commit */
  apply_pending(writer);
}

/* Every part may have been done before, by a writer that was killed. */
void apply_pending(Writer& writer) {
  ctn_core& core = writer.core();
  ctn_pending_text& pending = core.pending;
  if (pending.what == CTN_PENDING_RENAME) {
    if ((core.rename_seq & 1) == 0) store(core.rename_seq, core.rename_seq + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    lists::unindex(writer, pending.index);
    std::memcpy(writer.infos()[pending.index].name, pending.text, sizeof(pending.text));
    lists::index(writer, pending.index);
    store(core.rename_seq, core.rename_seq + 1);
  } else if (pending.what == CTN_PENDING_AGENT) {
    std::memcpy(core.hierarchies[pending.index % CTN_MAX_HIER].release_agent, pending.text,
                sizeof(pending.text));
  }
  store(pending.what, static_cast<std::uint32_t>(CTN_PENDING_NONE));
}

namespace {

std::uint32_t free_unheld(Writer& writer) {
  std::uint32_t freed = 0;
  /* Deepest last in slot order is not guaranteed, and a parent is freed only after its children. */
  for (bool again = true; again;) {
    again = false;
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) {
      if (writer.nodes()[slot].state != CTN_REMOVED || !lists::free_if_unheld(writer, slot))
        continue;
      freed++;
      again = true;
    }
  }
  return freed;
}

}  // namespace

std::uint32_t sweep_lingering(Writer& writer) {
  if (writer.core().lingering == 0) return 0;
  std::uint32_t freed = free_unheld(writer);
  if (writer.core().lingering == 0) return freed;
  auto gone = forget_gone(writer); /* a failure: they linger on, as they would without it */
  return gone && *gone != 0 ? freed + free_unheld(writer) : freed;
}

}  // namespace ctnbpf::tree
