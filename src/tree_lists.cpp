#include "tree_lists.h"

#include <fmt/format.h>

#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "grace.h"
#include "tombs.h"

namespace ctnbpf::tree::lists {
namespace {

Slot pop_free(Writer& writer) {
  ctn_core& core = writer.core();
  Slot slot = core.free_list;
  if (slot != 0) core.free_list = writer.nodes()[slot].hash_next;
  return slot;
}

/* The quarantined slots become free: one wait for all of them. */
void release_quarantine(Writer& writer) {
  ctn_core& core = writer.core();
  if (core.quarantine == 0) return;
  wait_for_programs();
  core.free_list = core.quarantine;
  core.quarantine = 0;
}

}  // namespace

std::uint32_t hash_name(Slot parent, std::string_view name) {
  std::uint32_t hash = 2166136261U ^ parent;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash ^ (hash >> 15);
}

Result<Slot> allocate(Writer& writer) {
  ctn_core& core = writer.core();
  Slot slot = pop_free(writer);
  if (slot == 0 && core.high_slot < writer.nodes().size()) {
    slot = core.high_slot;
    store(core.high_slot, slot + 1);
    return slot;
  }
  if (slot == 0) {
    if (core.quarantine == 0) sweep_lingering(writer);
    release_quarantine(writer);
    slot = pop_free(writer);
  }
  if (slot != 0) return slot;
  return Error{ENOSPC,
               fmt::format("no room for another container: all {} are in use; remove some, or "
                           "`ctnbpf down` and `ctnbpf up --max-containers N`",
                           core.max_containers)};
}

void give_back(Writer& writer, Slot slot) {
  writer.nodes()[slot].hash_next = writer.core().free_list;
  writer.core().free_list = slot;
}

void index(Writer& writer, Slot slot) {
  ctn_node& node = writer.nodes()[slot];
  node.name_hash = hash_name(node.parent, writer.infos()[slot].name);
  std::uint64_t& head = writer.name_index()[node.name_hash & (writer.name_index().size() - 1)];
  node.hash_next = static_cast<std::uint32_t>(head);
  store(head, std::uint64_t{slot});
}

void unindex(Writer& writer, Slot slot) {
  const ctn_node& node = writer.nodes()[slot];
  std::uint64_t& head = writer.name_index()[node.name_hash & (writer.name_index().size() - 1)];
  if (head == slot) {
    store(head, std::uint64_t{node.hash_next});
    return;
  }
  for (Slot at = static_cast<Slot>(head); at != 0; at = writer.nodes()[at].hash_next)
    if (writer.nodes()[at].hash_next == slot) {
      store(writer.nodes()[at].hash_next, node.hash_next);
      return;
    }
}

void link(Writer& writer, Slot slot) {
  auto nodes = writer.nodes();
  ctn_node& node = nodes[slot];
  ctn_node& parent = nodes[node.parent];
  node.prev_sibling = 0;
  node.next_sibling = parent.first_child;
  if (node.next_sibling != 0) nodes[node.next_sibling].prev_sibling = slot;
  store(parent.first_child, slot);
  parent.children++;
  parent.dependants++;
  store(parent.armed, 1U); /* its last child going is news: see node_emptied in bpf/events.bpf.h */
  index(writer, slot);
}

void unlink(Writer& writer, Slot slot) {
  unindex(writer, slot);
  auto nodes = writer.nodes();
  const ctn_node& node = nodes[slot];
  ctn_node& parent = nodes[node.parent];
  if (node.prev_sibling != 0)
    store(nodes[node.prev_sibling].next_sibling, node.next_sibling);
  else
    store(parent.first_child, node.next_sibling);
  if (node.next_sibling != 0) nodes[node.next_sibling].prev_sibling = node.prev_sibling;
  parent.children--;
}

bool free_if_unheld(Writer& writer, Slot slot) {
  ctn_node& node = writer.nodes()[slot];
  if (node.state != CTN_REMOVED || node.dependants != 0) return false;
  if (load(node.population) != 0 || load(node.refs) != 0) return false;
  if ((node.flags & CTN_UNMADE) == 0) write_tomb(writer, slot);
  for (const Subsystem* subsystem : bound_subsystems(writer, node.hierarchy))
    if (subsystem->destroy) subsystem->destroy(writer, slot);
  node.generation++;
  store(node.state, static_cast<std::uint8_t>(CTN_FREE)); /* the commit */
  writer.nodes()[node.parent].dependants--;
  writer.core().lingering--;
  node.hash_next = writer.core().quarantine;
  writer.core().quarantine = slot;
  return true;
}

}  // namespace ctnbpf::tree::lists
