#include <array>

#include "cpuacct/cpuacct_ops.h"
#include "kernel/hooks.h"
#include "numfiles/numfiles_ops.h"
#include "placement/placement_ops.h"

namespace ctnbpf::hooks {

/* In the order of CTN_HOOKS (hooks.h). */
std::span<const HookTable* const> tables() {
  static constexpr std::array kTables = {&kNumfilesHooks, &kPlacementHooks, &kCpuacctHooks,
                                         &kTaskHooks};
  return kTables;
}

}  // namespace ctnbpf::hooks
