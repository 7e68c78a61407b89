/* The core's counters against real tasks and the tables. Internal to fsck. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* What one look says is wrong with counters; some of it may be tasks and files coming and going. */
Result<std::vector<std::string>> compare_counts(const State& state);

/* Mends the core's own: what was mended. */
Result<std::vector<std::string>> repair_counts(Writer& writer);

}  // namespace ctnbpf
