#include "base/own_mount.h"

#include <sys/mount.h>

namespace ctnbpf {

UniqueFd own_mount(const char* type) {
  UniqueFd context(::fsopen(type, FSOPEN_CLOEXEC));
  if (!context.valid() || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return {};
  return UniqueFd(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

}  // namespace ctnbpf
