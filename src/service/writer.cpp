/* The beginning of every change: the lock, and what comes first. */
#include "ctnbpf/events.h"
#include "tree/lock.h"
#include "tree/emptied.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "containers/hooks_in_use.h"

namespace ctnbpf {
namespace {

/* What is in it makes a container's becoming empty news. The killed writer may have taken the mark
 * away to set it again; nobody else does that. */
void arm_all(Writer& writer) {
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) {
    ctn_node& node = writer.nodes()[slot];
    if (node.state != CTN_FREE && (live_tasks(node) != 0 || load(node.refs) != 0))
      store(node.armed, 1U);
  }
}

/* It may have taken the last child of a container away and not told. */
Result<void> tell_of_empty(Writer& writer) {
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
    if (writer.nodes()[slot].state == CTN_ACTIVE &&
        (writer.nodes()[slot].flags & CTN_NOTIFY_ON_RELEASE) != 0)
      CTN_TRY(tell_if_emptied(writer, slot));
  return {};
}

/* What a killed writer may have left half done. */
Result<void> recover(Writer& writer) {
  store(writer.core().tree_watch, 0U);
  tree::apply_pending(writer);
  tree::rebuild(writer);
  for (const Subsystem* subsystem : subsystems())
    if (subsystem->mend != nullptr && writer.core().bound[subsystem->id] != 0)
      CTN_TRY(subsystem->mend(writer));
  tree::sweep_lingering(writer);
  (void)leftovers(writer, true);
  CTN_TRY(reconcile_hooks(writer));
  arm_all(writer);
  return tell_of_empty(writer);
}

}  // namespace

Result<Writer> Writer::open(const Pins& pins, Slots slots) {
  CTN_ASSIGN(UniqueFd lock, take_writer_lock());
  return open(pins, std::move(lock), slots);
}

Result<Writer> Writer::open(const Pins& pins, UniqueFd lock, Slots slots) {
  CTN_ASSIGN(Writer writer, Writer::take(pins, std::move(lock), slots));
  if (writer.interrupted()) CTN_TRY(recover(writer));
  writer.begin();
  for (const Subsystem* subsystem : subsystems())
    if (subsystem->refresh != nullptr && writer.core().bound[subsystem->id] != 0)
      if (auto done = subsystem->refresh(writer, writer.interrupted()); !done)
        writer.troubles().push_back(done.error());
  return writer;
}

}  // namespace ctnbpf
