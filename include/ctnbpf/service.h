/* Loading and unloading everything in the kernel. */
#pragma once

#include <cstdint>
#include <optional>

#include "ctnbpf/abi.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/result.h"
#include "ctnbpf/state.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {

struct LoadSettings {
  std::uint32_t max_containers = CTN_DEFAULT_CONTAINERS;
  std::uint32_t max_tasks = CTN_DEFAULT_TASKS; /* contained tasks at one time, at least */
  std::uint32_t max_files = CTN_DEFAULT_FILES; /* charged files at one time, at least */
  bool default_layout = true;                  /* ensure_hierarchy() */
};

/* Probes, loads and pins. Nothing is pinned unless all of it is. True if it was not up before. */
Result<bool> bring_up(const Pins& pins, const LoadSettings& settings);

/* If there is no hierarchy at all: makes `default` with every subsystem this kernel supports. */
Result<void> ensure_hierarchy(Writer& writer);

/* Detaches and frees everything. EBUSY while there are contained tasks, unless `force`. True if
 * there was anything. */
Result<bool> take_down(const Pins& pins, bool force);

}  // namespace ctnbpf
