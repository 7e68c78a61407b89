/* The instances of ctnbpf on this machine, wherever they are pinned: other pins here, or those of another
 * mount namespace. They are told apart by the ids of their maps, which the kernel gives. */
#pragma once

#include <cstdint>
#include <set>

#include "ctnbpf/result.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {

/* `groups` (ctn_core) of each instance there is, but for that whose core is this map (-1: of none). One that
 * is of another layout counts as 0. */
Result<std::set<std::uint32_t>> groups_in_use(int but_for = -1);

/* What a new instance, whose core is this map, is to have for `groups`. */
Result<std::uint32_t> groups_number(int core);

/* These pins, of an instance that is being taken down, are none any more: its maps stay for some moments
 * after them. */
void retire(const Pins& pins);

}  // namespace ctnbpf
