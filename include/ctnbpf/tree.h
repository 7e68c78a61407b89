/* Hierarchies and containers: looking them up, and repair. Making and removing them: containers.h.
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

/* Changes a text in a way that a later writer finishes, should this one be killed. `text` fits. */
void set_text(Writer& writer, ctn_pending what, std::uint32_t index, const std::string& text);
/* Finishes such a change. */
void apply_pending(Writer& writer);

/* Makes everything derived anew from what is true. */
void rebuild(Writer& writer);
/* Every disagreement between derived and true, one sentence each; changes nothing. */
std::vector<std::string> check(const State& state);

}  // namespace ctnbpf::tree
