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
  std::uint8_t levels;    /* bit (1 << enum ctn_level): levels at which it runs for good */
  bool only_if_counting; /* only while a subsystem that counts tasks is in use */
};

/* All hook programs, in the order they are attached: those that take back before those that give. */
std::span<const HookProgram> programs();

/* Is the program wanted at this level at all (so that it is loaded)? */
bool runs_at(const HookProgram& program, std::uint32_t level);

/* Attaches what the hierarchies in use need and detaches the rest. A hierarchy is in use when it has
 * a container besides its root. */
Result<void> reconcile(Writer& writer);

}  // namespace ctnbpf::hooks
