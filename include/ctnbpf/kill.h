/* Signals to all tasks of a container. */
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct KillResult {
  std::uint64_t signalled = 0; /* processes */
  std::uint64_t left = 0;      /* live tasks when it ended, this process not counted */
  bool self = false;           /* this process is one of them; it was left out */
  std::string container;       /* its address */
};

/* How long to wait for the last task to end. */
struct Patience {
  std::chrono::milliseconds time{0};
  bool total =
      true; /* from the call on, the wait for the writer lock included; else from the last task that
                        ended */
};

/* Sends `signal` to every process that has a task in `address` (`recursive`: or below, removed
 * containers included), until a look finds none that has not got it; then waits, and looks again for those
 * that came meanwhile. With SIGKILL forks of those tasks are refused during each look (level accounting: a
 * forker dies of its fork), and a task that has got it cannot fork any more.
 *
 * The writer lock, which `open` takes, is held during looks and not while tasks are waited for: how long
 * they take to end is their own affair. A look takes as many descriptors as there are to have, and no more
 * than some thousands at a time. */
Result<KillResult> kill_tasks(const std::function<Result<Writer>()>& open,
                              const std::string& address, int signal, bool recursive,
                              Patience patience);

}  // namespace ctnbpf
