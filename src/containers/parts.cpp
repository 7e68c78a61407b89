#include "containers/parts.h"

#include <fmt/format.h>

#include <ctime>

#include "ctnbpf/address.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::tree {

std::uint64_t now_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Error busy(const State& state, Slot slot, const std::string& reason) {
  return {EBUSY, fmt::format("{} {}", printable(address_of(state, slot)), reason)};
}

Result<void> all_or_none(const std::vector<const Subsystem*>& members,
                         Result<void> (*Subsystem::*first)(Writer&, Slot),
                         void (*Subsystem::*undo)(Writer&, Slot), Writer& writer, Slot slot) {
  for (std::size_t i = 0; i < members.size(); i++) {
    if (members[i]->*first == nullptr) continue;
    Result<void> done = (members[i]->*first)(writer, slot);
    if (done) continue;
    std::string name = members[i]->name;
    while (i-- > 0)
      if (members[i]->*undo != nullptr) (members[i]->*undo)(writer, slot);
    return done.error().within(fmt::format("subsystem {}", name));
  }
  return {};
}

}  // namespace ctnbpf::tree
