#include "cpuacct/cpuacct_hooks.h"

#include "cpuacct/cpuacct_ops.h"

namespace ctnbpf::hooks {
namespace {

constexpr Hook kRows[] = {CTN_CPUACCT_HOOKS(CTN_HOOK_ROW, CTN_GATE_ROW, CTN_COPY_ROW)};

void find_levels(Levels& levels) {
  if (levels.works("t_switch")) levels.level[CTN_HOOKS_SWITCH] = levels.task();
}

}  // namespace

const HookTable kCpuacctHooks{kRows, find_levels};

}  // namespace ctnbpf::hooks
