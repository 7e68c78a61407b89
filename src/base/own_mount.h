/* A file system of the kernel's, for this process alone. */
#pragma once

#include "ctnbpf/unique_fd.h"

namespace ctnbpf {

/* Mounted nowhere, there while the descriptor is open. Not valid, with errno set, where that may not be done. */
UniqueFd own_mount(const char* type);

}  // namespace ctnbpf
