#include "lock.h"

#include <fcntl.h>
#include <sys/file.h>

namespace ctnbpf {

Result<UniqueFd> take_writer_lock() {
  constexpr const char* kPath = "/run/ctnbpf.lock";
  UniqueFd fd(::open(kPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return system_error(std::string("open the lock file '") + kPath + "'");
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return system_error(std::string("lock '") + kPath + "'");
  return fd;
}

}  // namespace ctnbpf
