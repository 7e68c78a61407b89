#include "tree/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/own_mount.h"

namespace ctnbpf {
namespace {

constexpr std::array kPlaces = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

/* The root of the one tracefs there is, where it is mounted; not that of a part of it. */
UniqueFd mounted_tracefs() {
  constexpr ino_t kRoot = 1;
  for (const char* path : kPlaces) {
    UniqueFd fd(::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct statfs system = {};
    struct stat root = {};
    if (fd.valid() && ::fstatfs(fd.get(), &system) == 0 && system.f_type == TRACEFS_MAGIC &&
        ::fstat(fd.get(), &root) == 0 && root.st_ino == kRoot)
      return fd;
  }
  return {};
}

/* Where it is not mounted. */
Result<UniqueFd> own_tracefs() {
  UniqueFd mount = own_mount("tracefs");
  if (mount.valid()) return mount;
  int code = errno;
  return Error{
      code, fmt::format("the writer lock is on tracefs, which is not at '{}' and cannot be mounted "
                        "from here ({}): mount or bind it there",
                        kPlaces[0], std::strerror(code))};
}

}  // namespace

Result<UniqueFd> take_writer_lock() {
  UniqueFd tracefs = mounted_tracefs();
  if (!tracefs.valid()) {
    CTN_ASSIGN(tracefs, own_tracefs());
  }
  UniqueFd fd(::openat(tracefs.get(), "options", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT)
    fd.reset(::openat(tracefs.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return system_error("open the directory of tracefs that has the writer lock");
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return system_error("take the writer lock");
  return fd;
}

}  // namespace ctnbpf
