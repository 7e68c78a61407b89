/* rig, control plane: what a test asks of it, and what it saw. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/subsystem.h"
#include "rig/rig.h"

namespace ctnbpf::rig {

/* What is to fail next, in this process; one word for each operation. */
struct Wishes {
  bool bind = false;
  bool create = false;
  bool can_attach = false;
  bool attach = false;
  bool read = false; /* of the attribute `mark` */
};
inline Wishes refuse;

/* Operations since a test last cleared them, each with its container: "create default:/a". */
inline std::vector<std::string> calls;

/* Tids of the last `attach`. */
inline std::vector<pid_t> attached;

}  // namespace ctnbpf::rig
