/* The writer lock: one for the machine, released by the kernel when its holder ends. */
#pragma once

#include "ctnbpf/result.h"
#include "unique_fd.h"

namespace ctnbpf {

/* Waits for the lock. A file of its own that only root can open: a lock on a bpffs directory could
 * be held by any user who may read it. */
Result<UniqueFd> take_writer_lock();

}  // namespace ctnbpf
