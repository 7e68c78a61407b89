/* The cpuacct subsystem's table, for the registry. */
#pragma once

#include "ctnbpf/subsystem.h"
#include "kernel/hooks.h"

namespace ctnbpf {
extern const Subsystem kCpuacct;

namespace hooks {
extern const HookTable kCpuacctHooks;
}

}  // namespace ctnbpf
