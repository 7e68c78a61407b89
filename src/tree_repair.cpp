/* Rebuilding and checking what is derived from the nodes' states, parents and names. */
#include <fmt/format.h>

#include "ctnbpf/tree.h"
#include "tree_lists.h"

namespace ctnbpf::tree {

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
  for (Slot slot = core.high_slot; slot-- > CTN_MAX_HIER;) {
    ctn_node& node = nodes[slot];
    node.flags &= ~static_cast<std::uint32_t>(CTN_KILLING); /* of a `kill` that was killed */
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
    if (bound != 0 && core.hierarchies[(bound - 1) % CTN_MAX_HIER].active == 0)
      store(bound, std::uint8_t{0});
}

std::vector<std::string> check(const State& state) {
  std::vector<std::string> found;
  auto complain = [&](Slot slot, const std::string& what) {
    found.push_back(fmt::format("{} (slot {}): {}", printable(address_of(state, slot)), slot, what));
  };
  auto nodes = state.nodes();
  std::vector<std::uint32_t> children_of(nodes.size());
  std::vector<std::uint32_t> dependants_of(nodes.size());
  std::uint32_t active = 0;
  std::uint32_t lingering = 0;
  for (Slot slot = CTN_MAX_HIER; slot < nodes.size(); slot++) {
    const ctn_node& node = nodes[slot];
    if (node.state == CTN_FREE) {
      if (node.population != 0 || node.refs != 0) complain(slot, "is free and still counted in");
      continue;
    }
    if (node.parent >= nodes.size() || nodes[node.parent].state == CTN_FREE) {
      complain(slot, fmt::format("its parent, slot {}, is not in use", node.parent));
      continue;
    }
    if (node.depth != nodes[node.parent].depth + 1) complain(slot, "its depth is wrong");
    if (node.hierarchy != nodes[node.parent].hierarchy) complain(slot, "its hierarchy is wrong");
    dependants_of[node.parent]++;
    if (node.state == CTN_REMOVED) {
      lingering++;
      continue;
    }
    active++;
    children_of[node.parent]++;
    if (find_child(state, node.parent, name_of(state, slot)) != slot)
      complain(slot, "is not found by its name");
  }
  for (Slot slot = 0; slot < nodes.size(); slot++) {
    const ctn_node& node = nodes[slot];
    if (node.state == CTN_FREE) continue;
    if (node.children != children_of[slot])
      complain(slot, fmt::format("counts {} children, has {}", node.children, children_of[slot]));
    if (node.dependants != dependants_of[slot])
      complain(slot, fmt::format("counts {} dependants, has {}", node.dependants, dependants_of[slot]));
    if (children(state, slot).size() != children_of[slot])
      complain(slot, "its list of children does not hold all of them");
  }
  if (state.core().containers != active)
    found.push_back(fmt::format("the core counts {} containers, there are {}",
                                state.core().containers, active));
  if (state.core().lingering != lingering)
    found.push_back(fmt::format("the core counts {} lingering containers, there are {}",
                                state.core().lingering, lingering));
  return found;
}

}  // namespace ctnbpf::tree
