/* The derived structures of the tree: sibling lists, name index, counts, free lists. Internal. */
#pragma once

#include <string_view>

#include "ctnbpf/state.h"

namespace ctnbpf::tree::lists {

std::uint32_t hash_name(Slot parent, std::string_view name);

/* An unused slot, not linked anywhere. ENOSPC names the setting. */
Result<Slot> allocate(Writer& writer);
/* Undoes allocate(). */
void give_back(Writer& writer, Slot slot);

/* Into (out of) the parent's children and the name index. */
void link(Writer& writer, Slot slot);
void unlink(Writer& writer, Slot slot);
void index(Writer& writer, Slot slot);
void unindex(Writer& writer, Slot slot);

/* Frees a removed container's slot if no task record, reference or dependant holds it. */
bool free_if_unheld(Writer& writer, Slot slot);

}  // namespace ctnbpf::tree::lists
