/* What a container's set of CPUs or nodes may be, beside those above, below and beside it. Knows no
 * kernel and no maps: both subsystems and the tests bring their own view of the tree. */
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ctnbpf/state.h"
#include "placement/index_set.h"

namespace ctnbpf {

/* The sets of one hierarchy. A root's own set is all there is, and it is exclusive. */
struct SetTree {
  std::string subsystem;             /* "cpuset" */
  std::string list;                  /* "cpus" */
  std::string exclusive_name;        /* "cpu_exclusive" */
  std::function<IndexSet(Slot)> own; /* empty: inherits */
  std::function<bool(Slot)> exclusive;
  std::function<Slot(Slot)> parent; /* a root is its own */
  std::function<std::vector<Slot>(Slot)> children;
  std::function<std::string(Slot)> name; /* for messages */

  bool is_root(Slot slot) const { return parent(slot) == slot; }
  /* The nearest container, itself included, that has a set of its own. */
  Slot provider(Slot slot) const;
};

/* May `slot` have `wanted` for its own set, where `online` can be used? EINVAL nothing of it is
 * online, or an exclusive set would be shared with a sibling; EACCES not within what is above; EBUSY
 * a container below has more. */
Result<void> check_set(const SetTree& tree, Slot slot, const IndexSet& wanted,
                       const IndexSet& online);

/* May `slot` be exclusive, or not? EACCES the parent is not; EINVAL a sibling has part of the set;
 * EBUSY a child is exclusive. */
Result<void> check_exclusive(const SetTree& tree, Slot slot, bool wanted);

/* What the tasks of `slot` may use: that of the nearest container, itself included, of whose set
 * something is online; whole, what is offline too. */
IndexSet set_in_force(const SetTree& tree, Slot slot, const IndexSet& online);

}  // namespace ctnbpf
