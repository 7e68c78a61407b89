/* The CPU columns of `stat`, the share of `tree` and the sum of `run --stat`. */
#pragma once

#include <memory>

#include "ctnbpf/meter.h"

namespace ctnbpf::cpuacct {

std::unique_ptr<Meter> make_meter();

}  // namespace ctnbpf::cpuacct
