/* The writer lock: one for the machine, released by the kernel when its holder ends. */
#pragma once

#include "ctnbpf/result.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {

/* Waits for the lock. What it guards is in the kernel, and is reached from any mount namespace, so it is on
 * something of the kernel's that is the same in each: a directory of tracefs, of which there is one for the
 * machine (and which BPF programs cannot be without). Only root, and its group, may open that; bpffs is
 * another for each mount, sysfs for each net namespace, procfs for each pid namespace, and everybody may
 * open what there is of cgroups or namespaces. Where tracefs is not mounted it is, for us alone. */
Result<UniqueFd> take_writer_lock();

}  // namespace ctnbpf
