/* Running a pinned program that hangs on no hook. */
#pragma once

#include <cstdint>
#include <span>

#include "ctnbpf/pins.h"

namespace ctnbpf {

inline constexpr int kAnyCpu = -1;

/* Runs a `raw_tp` program with `arguments`, on the CPU `cpu`; what it returns. ENXIO: that CPU is
 * offline or there is none. */
Result<std::uint32_t> run_program(const UniqueFd& program, std::span<const std::uint64_t> arguments,
                                  int cpu);

}  // namespace ctnbpf
