/* Slots of containers: taken for a new one, and free again when nothing holds a removed one any more. */
#pragma once

#include "ctnbpf/state.h"

namespace ctnbpf::tree {

/* An unused slot, not linked anywhere. ENOSPC names the setting. */
Result<Slot> allocate(Writer& writer);
/* Undoes allocate(). */
void give_back(Writer& writer, Slot slot);

/* Frees a removed container's slot if no task record, reference or dependant holds it. */
bool free_if_unheld(Writer& writer, Slot slot);

}  // namespace ctnbpf::tree
