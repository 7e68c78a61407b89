/* Making and removing hierarchies and containers, under the writer lock. */
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/tree.h"

namespace ctnbpf::tree {

/* ENOENT unknown subsystem, EBUSY bound elsewhere, EEXIST, ENOSPC, EINVAL. Every task is in the new
 * root at once. */
Result<std::uint32_t> create_hierarchy(Writer& writer, const std::string& name,
                                       const std::vector<std::string>& subsystems);
/* EBUSY, naming the first container in the way. */
Result<void> destroy_hierarchy(Writer& writer, std::uint32_t hierarchy);
/* The same, after a wait for tasks that have exited and are still to be freed: the kernel does that some grace
 * periods later, up to 10 s where it is lazy. */
Result<void> destroy_when_free(Writer& writer, std::uint32_t hierarchy);

/* Makes a container transient: it is to go when this process and its own tasks are gone. */
struct Owner {
  std::uint32_t pid;   /* global_tgid, of a walk */
  std::uint64_t start; /* start_ns */
};

/* EEXIST, EINVAL (name), ENOSPC, E2BIG (too deep). All subsystems of the hierarchy have set their
 * defaults when it becomes visible. */
Result<Slot> create(Writer& writer, Slot parent, const std::string& name,
                    const std::optional<Owner>& owner = std::nullopt);
/* EBUSY with the first reason and its count; EPERM for a root. With `lazy`, live tasks and
 * references do not stop it: the container lingers until they are gone. */
Result<void> remove(Writer& writer, Slot slot, bool lazy);
/* Removes what can be removed of `top` and all below it, or below a root: leaves first, each as
 * remove() does. One error for each that is in use; what is above such a one stays, and has none. */
std::vector<Error> remove_subtree(Writer& writer, Slot top, bool lazy);
/* Removes a container that the same command made, as if it had not been made. */
void unmake(Writer& writer, Slot slot);
/* EEXIST, EINVAL; EPERM for a root. */
Result<void> rename(Writer& writer, Slot slot, const std::string& name);

/* Frees the slots of removed containers that nothing holds any more; returns how many. Where the
 * freeing of tasks can be missed it first looks for those that are gone. */
std::uint32_t sweep_lingering(Writer& writer);

}  // namespace ctnbpf::tree
