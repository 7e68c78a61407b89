#pragma once

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Tells of `slot` becoming empty, if it is and wants it told: for a child that was taken away. */
Result<void> tell_if_emptied(Writer& writer, Slot slot);

}  // namespace ctnbpf
