/* What the kernel knows of our programs. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pins.h"

namespace ctnbpf {

struct ProgramStats {
  std::string name;
  std::string hook; /* "lsm/task_alloc" */
  bool attached = false;
  std::uint64_t runs = 0; /* counted only while something has the kernel count */
  std::uint64_t run_time_ns = 0;
  std::uint64_t skipped = 0; /* the CPU was inside another tracing program */
};

/* Hook programs first, in the order they are attached. With `seconds` the kernel counts for that
 * long, and runs and times are those of that time. */
Result<std::vector<ProgramStats>> program_stats(const Pins& pins, int seconds);

/* Bytes of kernel memory that the maps hold, whatever is in them. */
Result<std::uint64_t> map_memory(const Pins& pins);

}  // namespace ctnbpf
