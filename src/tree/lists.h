/* The derived structures of the tree: sibling lists, name index, counts. */
#pragma once

#include <string_view>

#include "ctnbpf/state.h"

namespace ctnbpf::tree::lists {

std::uint32_t hash_name(Slot parent, std::string_view name);

/* Into (out of) the parent's children and the name index. */
void link(Writer& writer, Slot slot);
void unlink(Writer& writer, Slot slot);
void index(Writer& writer, Slot slot);
void unindex(Writer& writer, Slot slot);

}  // namespace ctnbpf::tree::lists
