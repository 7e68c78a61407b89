/* Checking every invariant against real tasks, and sweeping what the dead left behind. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct FsckReport {
  std::vector<std::string> problems; /* found, one sentence each */
  std::vector<std::string> repaired; /* done about them, with `repair` */
};

/* Compares the derived lists with the tree, `population` and each subsystem's counters with a walk
 * over all tasks. Tasks fork and exit meanwhile, so a figure counts as wrong only when it is off by
 * the same amount in several walks in a row. With `repair` derived lists are rebuilt, transient
 * containers whose `run` is dead and which are empty are removed, slots nobody holds are freed. */
Result<FsckReport> fsck(Writer& writer, bool repair);

/* Removes empty transient containers whose `run` is gone; returns their addresses. */
std::vector<std::string> sweep_transient(Writer& writer);

/* Start time of a process in clock ticks since boot, 0 if it is gone: with the pid it names a
 * process for ever. */
std::uint64_t process_start(std::uint32_t pid);

}  // namespace ctnbpf
