/* Rebuilding and checking what is derived from the nodes' states, parents and names. */
#include <fmt/format.h>

#include "ctnbpf/tree.h"
#include "tree/lists.h"

namespace ctnbpf::tree {

namespace {

/* Depth and hierarchy follow from the parents. */
void place_below_parent(Writer& writer, Slot slot) {
  auto nodes = writer.nodes();
  std::uint16_t depth = 0;
  Slot at = slot;
  for (; at >= CTN_MAX_HIER && at < nodes.size() && depth <= CTN_MAX_DEPTH; depth++)
    at = nodes[at].parent;
  if (at >= CTN_MAX_HIER) return; /* no root above: check() says so */
  if (nodes[slot].depth != depth) store(nodes[slot].depth, depth);
  if (nodes[slot].hierarchy != at) store(nodes[slot].hierarchy, static_cast<std::uint8_t>(at));
}

}  // namespace

void rebuild(Writer& writer) {
  ctn_core& core = writer.core();
  auto nodes = writer.nodes();
  for (std::uint64_t& head : writer.name_index()) store(head, std::uint64_t{0});
  for (Slot slot = 0; slot < core.high_slot; slot++) {
    nodes[slot].children = nodes[slot].dependants = 0;
    store(nodes[slot].first_child, 0U);
    nodes[slot].next_sibling = nodes[slot].prev_sibling = 0;
  }
  core.containers = core.lingering = core.free_list = core.quarantine = 0;
  if ((core.rename_seq & 1) != 0) store(core.rename_seq, core.rename_seq + 1);
  for (Slot slot = core.high_slot; slot-- > CTN_MAX_HIER;) {
    ctn_node& node = nodes[slot];
    node.flags &= ~static_cast<std::uint32_t>(CTN_KILLING); /* of a `kill` that was killed */
    if (node.state != CTN_FREE) place_below_parent(writer, slot);
    if (node.state == CTN_ACTIVE) {
      lists::link(writer, slot);
      core.containers++;
    } else if (node.state == CTN_REMOVED) {
      nodes[node.parent].dependants++;
      core.lingering++;
    } else {
      /* Whether it was free already or just freed is not known: wait for programs before reuse. */
      node.hash_next = core.quarantine;
      core.quarantine = slot;
    }
  }
  /* A hierarchy that was being made or destroyed: its `active` decides. */
  for (std::uint8_t& bound : core.bound)
    if (bound != 0 && (bound > CTN_MAX_HIER || core.hierarchies[bound - 1].active == 0))
      store(bound, std::uint8_t{0});
  for (Slot root = 0; root < CTN_MAX_HIER; root++)
    store(nodes[root].state,
          static_cast<std::uint8_t>(core.hierarchies[root].active != 0 ? CTN_ACTIVE : CTN_FREE));
}

namespace {

/* Looks at one thing after the other and gathers what is wrong. */
class Check {
 public:
  explicit Check(const State& state) : state_(state), nodes_(state.nodes()) {}

  std::vector<std::string> run() {
    count_up();
    for (Slot slot = CTN_MAX_HIER; slot < nodes_.size(); slot++)
      if (nodes_[slot].state != CTN_FREE) look_at(slot);
    for (Slot slot = 0; slot < nodes_.size(); slot++)
      if (nodes_[slot].state != CTN_FREE) look_at_children(slot);
    look_at_index();
    look_at_free_slots();
    look_at_hierarchies();
    look_at_core();
    return std::move(found_);
  }

 private:
  void complain(const std::string& what) { found_.push_back(what); }
  void complain(Slot slot, const std::string& what) {
    complain(fmt::format("{} (slot {}): {}", printable(address_of(state_, slot)), slot, what));
  }
  bool in_use(Slot slot) const { return slot < nodes_.size() && nodes_[slot].state != CTN_FREE; }

  void count_up() {
    children_of_.resize(nodes_.size());
    dependants_of_.resize(nodes_.size());
    for (Slot slot = CTN_MAX_HIER; slot < nodes_.size(); slot++) {
      const ctn_node& node = nodes_[slot];
      active_ += node.state == CTN_ACTIVE;
      lingering_ += node.state == CTN_REMOVED;
      if (node.state == CTN_FREE || node.parent >= nodes_.size()) continue;
      dependants_of_[node.parent]++;
      children_of_[node.parent] += node.state == CTN_ACTIVE;
    }
  }

  void look_at(Slot slot) {
    const ctn_node& node = nodes_[slot];
    if (!in_use(node.parent))
      return complain(slot, fmt::format("its parent, slot {}, is not in use", node.parent));
    if (slot >= state_.core().high_slot) complain(slot, "is above the slots that were ever used");
    if (node.depth != nodes_[node.parent].depth + 1 || node.depth > CTN_MAX_DEPTH)
      complain(slot, "its depth is wrong");
    if (node.hierarchy != nodes_[node.parent].hierarchy) complain(slot, "its hierarchy is wrong");
    if ((node.flags & CTN_KILLING) != 0)
      complain(slot, "is marked as being killed, and no `kill` is at work");
    if (node.state != CTN_ACTIVE) return;
    std::string name = name_of(state_, slot);
    if (!check_container_name(name)) complain(slot, "its name breaks the rules for names");
    if (find_child(state_, node.parent, name) != slot) complain(slot, "is not found by its name");
  }

  void look_at_children(Slot slot) {
    const ctn_node& node = nodes_[slot];
    if (node.children != children_of_[slot])
      complain(slot, fmt::format("counts {} children, has {}", node.children, children_of_[slot]));
    if (node.dependants != dependants_of_[slot])
      complain(slot,
               fmt::format("counts {} dependants, has {}", node.dependants, dependants_of_[slot]));
    if (children(state_, slot).size() != children_of_[slot])
      complain(slot, "its list of children does not hold all of them");
    Slot before = 0;
    std::size_t steps = 0;
    for (Slot at = node.first_child; at != 0 && at < nodes_.size() && steps < nodes_.size();
         steps++) {
      if (nodes_[at].prev_sibling != before)
        return complain(at, "does not know its neighbour in the list of children");
      before = at;
      at = nodes_[at].next_sibling;
    }
  }

  /* Each container is found by its name (look_at); so more entries than containers are too many. */
  void look_at_index() {
    std::size_t entries = 0;
    for (std::uint64_t head : state_.name_index())
      for (auto at = static_cast<Slot>(head);
           at != 0 && at < nodes_.size() && entries <= nodes_.size(); at = nodes_[at].hash_next)
        entries++;
    if (entries != active_)
      complain(
          fmt::format("the index of names has {} entries for {} containers", entries, active_));
  }

  void look_at_free_slots() {
    std::vector<std::uint8_t> listed(nodes_.size());
    for (Slot head : {state_.core().free_list, state_.core().quarantine}) {
      std::size_t steps = 0;
      for (Slot at = head; at != 0 && steps <= nodes_.size(); at = nodes_[at].hash_next, steps++) {
        if (at >= nodes_.size() || at < CTN_MAX_HIER || nodes_[at].state != CTN_FREE ||
            listed[at]++ != 0) {
          complain(fmt::format("slot {} is wrongly in a list of free slots", at));
          break;
        }
      }
    }
    for (Slot slot = CTN_MAX_HIER; slot < nodes_.size(); slot++) {
      if (nodes_[slot].state != CTN_FREE) continue;
      if (slot < state_.core().high_slot && listed[slot] == 0)
        complain(fmt::format("slot {} is free and in no list of free slots", slot));
      if (nodes_[slot].population != 0 || nodes_[slot].refs != 0)
        complain(slot, "is free and still counted in");
    }
  }

  void look_at_hierarchies() {
    const ctn_core& core = state_.core();
    for (std::uint8_t bound : core.bound)
      if (bound != 0 && !hierarchy_active(state_, bound - 1U))
        complain(fmt::format("a subsystem is bound to hierarchy number {}, which is not there",
                             bound - 1U));
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
      const ctn_node& root = nodes_[h];
      std::string name = hierarchy_name(state_, h);
      if (!hierarchy_active(state_, h)) {
        if (root.state != CTN_FREE || dependants_of_[h] != 0)
          complain(fmt::format("hierarchy number {} is not there and still in use", h));
        continue;
      }
      if (root.state != CTN_ACTIVE || root.parent != h || root.depth != 0 || root.hierarchy != h)
        complain(fmt::format("the root of hierarchy '{}' is damaged", printable(name)));
      if (!check_hierarchy_name(name) || hierarchy_named(state_, name) != h)
        complain(fmt::format("the name of hierarchy '{}' breaks the rules or is there twice",
                             printable(name)));
    }
  }

  void look_at_core() {
    const ctn_core& core = state_.core();
    if (core.containers != active_)
      complain(
          fmt::format("the core counts {} containers, there are {}", core.containers, active_));
    if (core.lingering != lingering_)
      complain(fmt::format("the core counts {} lingering containers, there are {}", core.lingering,
                           lingering_));
    if (core.pending.what != CTN_PENDING_NONE || (core.rename_seq & 1) != 0)
      complain("a change of a name was not finished");
    if (core.tree_watch != 0) complain("every fork is told of, and no `attach --tree` is at work");
  }

  const State& state_;
  std::span<const ctn_node> nodes_;
  std::vector<std::string> found_;
  std::vector<std::uint32_t> children_of_;
  std::vector<std::uint32_t> dependants_of_;
  std::uint32_t active_ = 0;
  std::uint32_t lingering_ = 0;
};

}  // namespace

std::vector<std::string> check(const State& state) { return Check(state).run(); }

}  // namespace ctnbpf::tree
