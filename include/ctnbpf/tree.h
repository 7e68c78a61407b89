/* Hierarchies and containers: looking them up, making and removing them.
 *
 * What is true is in few words: a hierarchy's `active`, a node's `state`, `parent` and name. Each
 * change commits by storing one of them. Sibling lists, name index, counts and free lists are
 * derived; rebuild() makes them anew after a writer was killed between two stores. */
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/address.h"
#include "ctnbpf/state.h"

namespace ctnbpf::tree {

/* --- looking up (no lock) --- */

/* By its own name, or by that of a subsystem bound to it. ENOENT. */
Result<std::uint32_t> find_hierarchy(const State& state, std::string_view name);
/* By its own name only; CTN_MAX_HIER if there is none. */
std::uint32_t hierarchy_named(const State& state, std::string_view name);
bool hierarchy_active(const State& state, std::uint32_t hierarchy);
std::string hierarchy_name(const State& state, std::uint32_t hierarchy);

/* The slot of an address. ENOENT names the first part that is missing. */
Result<Slot> find(const State& state, const Address& address);
Result<Slot> find(const State& state, std::string_view address);
/* Child of `parent` by name, or 0. */
Slot find_child(const State& state, Slot parent, std::string_view name);

std::string name_of(const State& state, Slot slot);
void append_name(const State& state, Slot slot, std::string& to);
/* "/a/b", "/" for a root. */
std::string path_of(const State& state, Slot slot);
/* "default:/a/b" */
std::string address_of(const State& state, Slot slot);

enum class Order { kByName, kAny /* the quicker one */ };

/* Children in the tree. */
std::vector<Slot> children(const State& state, Slot parent, Order order = Order::kByName);
/* `top` and all below it, parents before children. */
std::vector<Slot> subtree(const State& state, Slot top, Order order = Order::kByName);
/* Is `slot` `top` or below it? */
bool within(const State& state, Slot slot, Slot top);

/* --- changing (writer lock) --- */

/* ENOENT unknown subsystem, EBUSY bound elsewhere, EEXIST, ENOSPC, EINVAL. Every task is in the new
 * root at once. */
Result<std::uint32_t> create_hierarchy(Writer& writer, const std::string& name,
                                       const std::vector<std::string>& subsystems);
/* EBUSY, naming the first container in the way. */
Result<void> destroy_hierarchy(Writer& writer, std::uint32_t hierarchy);

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

/* Changes a text in a way that a later writer finishes, should this one be killed. `text` fits. */
void set_text(Writer& writer, ctn_pending what, std::uint32_t index, const std::string& text);
/* Finishes such a change. */
void apply_pending(Writer& writer);

/* Frees the slots of removed containers that nothing holds any more; returns how many. Where the
 * freeing of tasks can be missed it first looks for those that are gone. */
std::uint32_t sweep_lingering(Writer& writer);

/* Makes everything derived anew from what is true. */
void rebuild(Writer& writer);
/* Every disagreement between derived and true, one sentence each; changes nothing. */
std::vector<std::string> check(const State& state);

}  // namespace ctnbpf::tree
