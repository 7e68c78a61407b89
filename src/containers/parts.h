/* What making hierarchies and making containers have in common. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/subsystem.h"

namespace ctnbpf::tree {

std::uint64_t now_ns(); /* CLOCK_REALTIME */

/* EBUSY: the container `reason`. */
Error busy(const State& state, Slot slot, const std::string& reason);

/* Has each of `members` call `first`; when one fails, those before it call `undo`, last one first. */
Result<void> all_or_none(const std::vector<const Subsystem*>& members,
                         Result<void> (*Subsystem::*first)(Writer&, Slot),
                         void (*Subsystem::*undo)(Writer&, Slot), Writer& writer, Slot slot);

}  // namespace ctnbpf::tree
