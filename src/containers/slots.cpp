#include "containers/slots.h"

#include <fmt/format.h>

#include "containers/tombs.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "kernel/grace.h"

namespace ctnbpf::tree {
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

std::uint32_t free_unheld(Writer& writer) {
  std::uint32_t freed = 0;
  /* Deepest last in slot order is not guaranteed, and a parent is freed only after its children. */
  for (bool again = true; again;) {
    again = false;
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) {
      if (writer.nodes()[slot].state != CTN_REMOVED || !free_if_unheld(writer, slot)) continue;
      freed++;
      again = true;
    }
  }
  return freed;
}

}  // namespace

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

std::uint32_t sweep_lingering(Writer& writer) {
  if (writer.core().lingering == 0) return 0;
  std::uint32_t freed = free_unheld(writer);
  if (writer.core().lingering == 0) return freed;
  auto gone = forget_gone(writer); /* a failure: they linger on, as they would without it */
  return gone && *gone != 0 ? freed + free_unheld(writer) : freed;
}

}  // namespace ctnbpf::tree
