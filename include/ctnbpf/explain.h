/* Every bound on the tasks of a process: those of its containers, and the kernel's own. */
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct BoundLine {
  std::string resource; /* of what: "tasks", "files" */
  std::string what;     /* "numtasks.limit" */
  std::string on;       /* an address, or what of the kernel's */
  std::uint64_t used;
  std::uint64_t most;
  std::uint64_t left;
};

struct Explanation {
  std::uint32_t pid;
  std::uint32_t tid; /* the one that was asked for */
  std::string comm;
  std::vector<BoundLine> bounds;
};

/* ESRCH: there is no such process or thread. */
Result<Explanation> explain(const State& state, pid_t task);

}  // namespace ctnbpf
