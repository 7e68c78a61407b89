/* The memset subsystem's table, for the registry. */
#pragma once

#include "ctnbpf/subsystem.h"

namespace ctnbpf {
extern const Subsystem kMemset;
}
