/* The subsystems that are shipped, in the order in which everything calls them. */
#include <array>

#include "cpuacct/cpuacct_ops.h"
#include "cpuset/cpuset_ops.h"
#include "ctnbpf/subsystem.h"
#include "memset/memset_ops.h"
#include "numfiles/numfiles_ops.h"
#include "numtasks/numtasks_ops.h"

namespace ctnbpf {

std::span<const Subsystem* const> shipped_subsystems() {
  static constexpr std::array kTable = {
      &kCpuset, &kMemset, &kCpuacct, &kNumtasks, &kNumfiles,
  };
  return kTable;
}

}  // namespace ctnbpf
