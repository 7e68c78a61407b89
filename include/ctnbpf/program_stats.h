/* What the kernel knows of our programs and maps. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctnbpf/pins.h"

namespace ctnbpf {

struct ProgramStats {
  std::string name;
  std::string hook;        /* "lsm/task_alloc" */
  std::string consequence; /* of a run that the kernel skips, in words */
  bool attached = false;
  std::uint64_t runs = 0; /* counted only while something has the kernel count */
  std::uint64_t run_time_ns = 0;
  std::uint64_t skipped = 0; /* the CPU was inside another tracing program */
};

/* Hook programs first, in the order they are attached. With `seconds` the kernel counts for that
 * long, and runs and times are those of that time. */
Result<std::vector<ProgramStats>> program_stats(const Pins& pins, int seconds);

/* How many objects are in a table: "task", or one of a subsystem's (KernelTable). */
Result<std::uint64_t> table_entries(const Pins& pins, const std::string& name);

/* Bytes of kernel memory that the maps hold, whatever is in them. */
Result<std::uint64_t> map_memory(const Pins& pins);

}  // namespace ctnbpf
