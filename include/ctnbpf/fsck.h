/* Checking every invariant against real tasks, and sweeping what the dead left behind. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct FsckReport {
  std::vector<std::string> problems; /* found, one sentence each */
  std::vector<std::string> repaired; /* done about them, with `repair` */
  std::vector<std::string> left;     /* of the problems, at the end */
  std::vector<std::string> remarks;  /* worth knowing, and nothing that is wrong */
};

/* Checks the tree and what is derived from it, the bindings, that the hooks in need are attached,
 * `population`, references and each subsystem's counters and amounts against the tables of tasks and
 * files, the table of tasks against walks over all tasks, and that nothing is left of killed commands.
 * Tasks fork and exit meanwhile, so a figure counts as wrong only when it is off by the same amount in
 * several looks in a row, and a task as missing when it is for longer than a fork takes. With `repair` what is wrong is mended: what is derived is made anew, counters are
 * what the tables say, what the dead left behind goes. */
Result<FsckReport> fsck(Writer& writer, bool repair);

/* Removes empty transient containers whose `run` is gone; returns their addresses. */
std::vector<std::string> sweep_transient(Writer& writer);

}  // namespace ctnbpf
