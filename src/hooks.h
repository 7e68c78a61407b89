/* Which program is attached when. */
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf::hooks {

struct HookProgram {
  const char* name; /* of the program, its pin and its link's pin */
  const char* hook;
  ctn_hooks group; /* attached only while a subsystem in use needs this group */
  std::uint8_t
      levels; /* bit (1 << enum ctn_level): levels of the group at which it runs for good */
  /* Not every kernel has what it hangs on, and none that lacks it needs it. */
  bool optional = false;
};

/* All hook programs, in the order they are attached: those that take back before those that give. */
std::span<const HookProgram> programs();

/* Is the program wanted at these levels at all (so that it is loaded)? */
bool runs_at(const HookProgram& program, std::span<const std::uint32_t, CTN_HOOKS_NR> levels);

/* Attaches what the hierarchies in use need and detaches the rest, unless all is
 * kept (ctn_core::keep_hooks). A hierarchy is in use when it has a container besides its root. */
Result<void> reconcile(Writer& writer);

/* Programs that the hierarchies in use need and that are not attached. */
std::vector<std::string> missing(const State& state);

}  // namespace ctnbpf::hooks
