/* Signals to all tasks of a container. */
#pragma once

#include <cstdint>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct KillResult {
  std::uint64_t signalled = 0; /* processes */
  std::uint64_t left = 0;      /* live tasks when it ended, this process not counted */
  bool self = false;           /* this process is one of them; it was left out */
};

/* Sends `signal` to every process that has a task in `slot` (`recursive`: or below, removed
 * containers included), until a look finds none that has not got it. With SIGKILL forks of those
 * tasks are refused from the first moment on (level accounting: a forker dies of its fork), until
 * this ends. Waits up to `timeout_ms` for the last task to end. */
Result<KillResult> kill_tasks(Writer& writer, Slot slot, int signal, bool recursive,
                              int timeout_ms);

}  // namespace ctnbpf
