#include "placement/placement_hooks.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "placement/placement_ops.h"

namespace ctnbpf::hooks {
namespace {

/* Sets the mask this thread has. Says whether that worked. */
bool set_same_mask() {
  constexpr std::size_t kWords = 128; /* of the largest kernels */
  std::array<unsigned long, kWords> mask = {};
  long bytes = ::syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask.data());
  return bytes > 0 && ::syscall(SYS_sched_setaffinity, 0, bytes, mask.data()) == 0;
}

constexpr Hook kRows[] = {CTN_PLACEMENT_HOOKS(CTN_HOOK_ROW, CTN_GATE_ROW, CTN_COPY_ROW)};

/* At every level tasks are placed. A task stays where it was placed only where its own change of the
 * mask can be refused. */
void find_levels(Levels& levels) {
  std::uint32_t& place = levels.level[CTN_HOOKS_PLACE];
  place = std::min<std::uint32_t>(levels.task(), CTN_LEVEL_ACCOUNTING);
  bool never_skipped = !levels.skips || levels.works("k_affinity");
  if (levels.task() < CTN_LEVEL_FALLBACK ||
      (!levels.works("f_affinity") && !levels.works("k_affinity")))
    return;
  if (levels.works("l_setscheduler"))
    place = never_skipped ? CTN_LEVEL_STRICT : CTN_LEVEL_FALLBACK;
  else if (levels.works("f_setscheduler"))
    place = CTN_LEVEL_FALLBACK;
}

}  // namespace

const HookTable kPlacementHooks{kRows, find_levels};

}  // namespace ctnbpf::hooks
