#include "placement/rules.h"

#include <fmt/format.h>

namespace ctnbpf {
namespace {

/* The sets that a container has or, where it inherits, that those below it have taken. */
IndexSet claimed(const SetTree& tree, Slot slot) {
  IndexSet own = tree.own(slot);
  if (!own.empty()) return own;
  for (Slot child : tree.children(slot)) own = own | claimed(tree, child);
  return own;
}

/* The first container below, by a set of its own, that has something `wanted` lacks; or `slot`. */
Slot has_more(const SetTree& tree, Slot slot, const IndexSet& wanted) {
  for (Slot child : tree.children(slot)) {
    IndexSet own = tree.own(child);
    if (!own.empty() && !own.within(wanted)) return child;
    if (own.empty())
      if (Slot found = has_more(tree, child, wanted); found != child) return found;
  }
  return slot;
}

Error shared(const SetTree& tree, Slot slot, Slot other, const IndexSet& what) {
  return {EINVAL,
          fmt::format(
              "{0} and its sibling {1} would share {2} {3}, and {4}.{5} is set on {6}: give them "
              "separate ones, or clear that",
              tree.name(slot), tree.name(other), tree.list, what.to_string(), tree.subsystem,
              tree.exclusive_name, tree.name(tree.exclusive(slot) ? slot : other))};
}

/* An exclusive set meets no sibling's. A container that inherits stands for what is taken below it, so
 * the siblings of those above count as well, up to the first that has a set of its own. */
Result<void> check_siblings(const SetTree& tree, Slot slot, IndexSet claim, bool exclusive) {
  for (Slot at = slot; !tree.is_root(at); at = tree.parent(at)) {
    if (at != slot) {
      if (!tree.own(at).empty()) return {};
      exclusive = tree.exclusive(at);
      claim = claim | claimed(tree, at);
    }
    for (Slot other : tree.children(tree.parent(at))) {
      if (other == at || (!exclusive && !tree.exclusive(other))) continue;
      IndexSet both = claim & claimed(tree, other);
      if (!both.empty()) return shared(tree, at, other, both);
    }
  }
  return {};
}

}  // namespace

Slot SetTree::provider(Slot slot) const {
  while (!is_root(slot) && own(slot).empty()) slot = parent(slot);
  return slot;
}

Result<void> check_set(const SetTree& tree, Slot slot, const IndexSet& wanted,
                       const IndexSet& online) {
  Slot above = tree.provider(tree.parent(slot));
  if (!wanted.empty()) {
    if (!wanted.meets(online))
      return Error{EINVAL,
                   fmt::format("{}.{} cannot be '{}': nothing of it is online, {} is",
                               tree.subsystem, tree.list, wanted.to_string(), online.to_string())};
    IndexSet most = tree.own(above);
    if (!wanted.within(most))
      return Error{EACCES, fmt::format("{}.{} of {} cannot be '{}': {} above it has '{}' only",
                                       tree.subsystem, tree.list, tree.name(slot),
                                       wanted.to_string(), tree.name(above), most.to_string())};
  }
  const IndexSet next = wanted.empty() ? tree.own(above) : wanted;
  if (Slot below = has_more(tree, slot, next); below != slot)
    return Error{EBUSY,
                 fmt::format("{}.{} of {} cannot be '{}': {} below it has '{}'; change that first",
                             tree.subsystem, tree.list, tree.name(slot), next.to_string(),
                             tree.name(below), tree.own(below).to_string())};
  IndexSet claim = wanted;
  if (claim.empty())
    for (Slot child : tree.children(slot)) claim = claim | claimed(tree, child);
  return check_siblings(tree, slot, claim, tree.exclusive(slot));
}

Result<void> check_exclusive(const SetTree& tree, Slot slot, bool wanted) {
  if (!wanted) {
    for (Slot child : tree.children(slot))
      if (tree.exclusive(child))
        return Error{
            EBUSY,
            fmt::format("{}.{} of {} cannot be cleared: {} below it is exclusive; clear that first",
                        tree.subsystem, tree.exclusive_name, tree.name(slot), tree.name(child))};
    return {};
  }
  if (Slot parent = tree.parent(slot); !tree.exclusive(parent))
    return Error{
        EACCES,
        fmt::format("{}.{} of {} cannot be set: {} above it is not exclusive; set it there first",
                    tree.subsystem, tree.exclusive_name, tree.name(slot), tree.name(parent))};
  return check_siblings(tree, slot, claimed(tree, slot), true);
}

IndexSet set_in_force(const SetTree& tree, Slot slot, const IndexSet& online) {
  for (;; slot = tree.parent(slot)) {
    IndexSet own = tree.own(slot);
    if (tree.is_root(slot) || own.meets(online)) return own;
  }
}

}  // namespace ctnbpf
