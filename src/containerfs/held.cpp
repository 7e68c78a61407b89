#include "held.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "ctnbpf/namespaces.h"

namespace ctnbpf::containerfs {

HeldTask::HeldTask(pid_t number)
    : dir_(::open(fmt::format("{}/{}", proc_root(), number).c_str(),
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

/* Not a pidfd, which there is for a thread that is not its process's first from 6.9 on alone. */
bool HeldTask::there() const {
  if (!dir_.valid()) return false;
  UniqueFd status(::openat(dir_.get(), "stat", O_RDONLY | O_CLOEXEC));
  char byte = 0;
  return status.valid() && ::read(status.get(), &byte, 1) == 1; /* ESRCH: it is gone */
}

}  // namespace ctnbpf::containerfs
