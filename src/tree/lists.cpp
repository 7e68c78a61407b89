#include "tree/lists.h"

namespace ctnbpf::tree::lists {
std::uint32_t hash_name(Slot parent, std::string_view name) {
  std::uint32_t hash = 2166136261U ^ parent;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash ^ (hash >> 15);
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

}  // namespace ctnbpf::tree::lists
