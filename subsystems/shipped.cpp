/* The table of subsystems of everything but the tests of the interface, which give one with more
 * (tests/rig). Linked into each program beside the loader that goes with it. */
#include "ctnbpf/subsystem.h"

namespace ctnbpf {

std::span<const Subsystem* const> subsystems() { return shipped_subsystems(); }

}  // namespace ctnbpf
