/* Writing tombstones. Internal. */
#pragma once

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Keeps the last figures of a container whose slot is about to be free; before its subsystems destroy
 * it. Done again by whoever finds the freeing cut short, it changes nothing. */
void write_tomb(Writer& writer, Slot slot);

}  // namespace ctnbpf
