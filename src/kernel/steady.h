/* Telling what is wrong from what is on its way. Counters are compared with walks over tasks and
 * files that come and go meanwhile: only what several looks in a row agree about is wrong. */
#pragma once

#include <vector>

#include "ctnbpf/result.h"
#include "kernel/grace.h"

namespace ctnbpf {

inline constexpr int kLooks = 10;

/* `look` tells by how much each figure is off; an entry stays if all looks say the same, else it
 * becomes 0. Between looks a grace period passes, in which the dying are given back. */
template <typename Number, typename Look>
Result<std::vector<Number>> steady_differences(const Look& look) {
  CTN_ASSIGN(std::vector<Number> steady, look());
  for (int i = 1; i < kLooks; i++) {
    bool any = false;
    for (Number one : steady) any = any || one != 0;
    if (!any) break;
    wait_for_programs();
    CTN_ASSIGN(std::vector<Number> now, look());
    for (std::size_t at = 0; at < steady.size(); at++)
      if (at >= now.size() || now[at] != steady[at]) steady[at] = 0;
  }
  return steady;
}

}  // namespace ctnbpf
