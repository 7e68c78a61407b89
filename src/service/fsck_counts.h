/* The core's counters against real tasks and the tables. Internal to fsck. */
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* By address: tasks that have a record and count somewhere, and were not met. One that is being forked
 * is such a task until its forker has been copied. */
using UnmetTasks = std::map<std::uint64_t, Slot>;

/* What one look says is wrong with counters; some of it may be tasks and files coming and going. */
struct Look {
  std::vector<std::string> complaints;
  UnmetTasks unmet;
};
Result<Look> compare_counts(Writer& writer);

/* Mends the core's own: what was mended. */
Result<std::vector<std::string>> repair_counts(Writer& writer);

}  // namespace ctnbpf
