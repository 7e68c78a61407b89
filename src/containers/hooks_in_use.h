/* Which hooks the hierarchies need. A hierarchy is in use when it has a container besides its root. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Attaches what the hierarchies in use need and detaches the rest, unless all is kept (ctn_core::keep_hooks). */
Result<void> reconcile_hooks(Writer& writer);

/* Programs that the hierarchies in use need and that are not attached. */
std::vector<std::string> missing_hooks(const State& state);

}  // namespace ctnbpf
