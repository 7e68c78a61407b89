/* Walks over tasks that leave a mark. */
#pragma once

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Leaves the mark of a new walk, core().walk_mark, in the record of each task there is. */
Result<void> mark_tasks(Writer& writer);

}  // namespace ctnbpf
