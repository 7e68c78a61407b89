/* Looking up in the tree, without a lock: chains may change under the reader, so every walk is
 * bounded by the number of slots and every index is checked. */
#include <endian.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "ctnbpf/nearest.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "tree/lists.h"

namespace ctnbpf::tree {
namespace {

std::string_view raw_name(const State& state, Slot slot) {
  const char* text = state.infos()[slot].name;
  return {text, ::strnlen(text, CTN_NAME_MAX)};
}

bool valid(const State& state, Slot slot) { return slot < state.nodes().size(); }

/* The first eight bytes of a name as a number that sorts as they do: nearly always that decides. */
struct Named {
  std::uint64_t first;
  Slot slot;
};

std::uint64_t first_bytes(const char* name) {
  std::uint64_t bytes = 0;
  static_assert(sizeof(ctn_info::name) >= sizeof(bytes));
  std::memcpy(&bytes, name, sizeof(bytes));
  /* What a longer name has left behind its end does not count. */
  if (std::size_t length = ::strnlen(name, sizeof(bytes)); length < sizeof(bytes))
    bytes &= (std::uint64_t{1} << (8 * length)) - 1;
  return be64toh(bytes);
}

void sort_by_name(const State& state, std::vector<Slot>& slots) {
  std::vector<Named> named;
  named.reserve(slots.size());
  for (Slot slot : slots) named.push_back({first_bytes(state.infos()[slot].name), slot});
  std::sort(named.begin(), named.end(), [&](const Named& a, const Named& b) {
    if (a.first != b.first) return a.first < b.first;
    return raw_name(state, a.slot) < raw_name(state, b.slot);
  });
  std::transform(named.begin(), named.end(), slots.begin(),
                 [](const Named& one) { return one.slot; });
}

}  // namespace

bool hierarchy_active(const State& state, std::uint32_t hierarchy) {
  return hierarchy < CTN_MAX_HIER && load(state.core().hierarchies[hierarchy].active) != 0;
}

std::string hierarchy_name(const State& state, std::uint32_t hierarchy) {
  const char* text = state.core().hierarchies[hierarchy % CTN_MAX_HIER].name;
  return {text, ::strnlen(text, CTN_HIER_NAME_MAX)};
}

std::uint32_t hierarchy_named(const State& state, std::string_view name) {
  std::uint32_t h = 0;
  while (h < CTN_MAX_HIER && !(hierarchy_active(state, h) && hierarchy_name(state, h) == name)) h++;
  return h;
}

Result<std::uint32_t> find_hierarchy(const State& state, std::string_view name) {
  if (std::uint32_t h = hierarchy_named(state, name); h < CTN_MAX_HIER) return h;
  const Subsystem* subsystem = find_subsystem(name);
  if (subsystem == nullptr) {
    std::vector<std::string> names = subsystem_names();
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (hierarchy_active(state, h)) names.push_back(hierarchy_name(state, h));
    return Error{ENOENT,
                 fmt::format("no hierarchy or subsystem '{}':{} `ctnbpf hierarchy list` shows "
                             "what there is",
                             printable(name.substr(0, 80)), did_you_mean(name, names))};
  }
  std::uint8_t bound = load(state.core().bound[subsystem->id]);
  if (bound == 0 || bound > CTN_MAX_HIER)
    return Error{ENOENT,
                 fmt::format("subsystem '{}' is not bound to a hierarchy: `ctnbpf hierarchy "
                             "create NAME -o {}` binds it",
                             name, name)};
  return bound - 1U;
}

namespace {

Slot find_once(const State& state, Slot parent, std::string_view name) {
  std::uint32_t hash = lists::hash_name(parent, name);
  auto at = static_cast<Slot>(load(state.name_index()[hash & (state.name_index().size() - 1)]));
  for (std::size_t steps = 0; at != 0 && valid(state, at) && steps < state.nodes().size();
       steps++) {
    const ctn_node& node = state.nodes()[at];
    if (node.name_hash == hash && node.parent == parent && load(node.state) == CTN_ACTIVE &&
        raw_name(state, at) == name)
      return at;
    at = load(node.hash_next);
  }
  return 0;
}

/* False for a reader while a writer is at work, or after it was killed. */
bool index_is_whole(const State& state) {
  return load(state.core().dirty) == 0 || dynamic_cast<const Writer*>(&state) != nullptr;
}

/* Without the index, from what is true. */
Slot find_by_walk(const State& state, Slot parent, std::string_view name) {
  for (Slot at = CTN_MAX_HIER; valid(state, at) && at < load(state.core().high_slot); at++) {
    const ctn_node& node = state.nodes()[at];
    if (load(node.state) == CTN_ACTIVE && node.parent == parent && raw_name(state, at) == name)
      return at;
  }
  return 0;
}

}  // namespace

/* While a container gets another name, it is for a moment found by neither: who finds nothing then
 * looks again. A writer that was killed there leaves the number odd until the next one; hence the
 * bound. One that was killed over the index leaves that unfinished: then readers do without. */
Slot find_child(const State& state, Slot parent, std::string_view name) {
  constexpr int kLooks = 1000;
  for (int look = 0;; look++) {
    std::uint32_t before = load(state.core().rename_seq);
    if (Slot found = find_once(state, parent, name); found != 0) return found;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    bool steady = (before & 1) == 0 && before == load(state.core().rename_seq);
    if (steady || look == kLooks)
      return index_is_whole(state) ? 0 : find_by_walk(state, parent, name);
    ::sched_yield();
  }
}

/* " did you mean `default:/build`?", where a container beside the last of `seen` has a name like it. */
static std::string meant_below(const State& state, Slot parent, Address seen) {
  std::vector<std::string> names;
  for (Slot child : children(state, parent, Order::kAny)) names.push_back(name_of(state, child));
  std::string name = nearest(seen.path.back(), names);
  if (name.empty()) return "";
  seen.path.back() = name;
  return fmt::format(" did you mean `{}`?", printable(seen.to_string()));
}

Result<Slot> find(const State& state, const Address& address) {
  CTN_ASSIGN(std::uint32_t hierarchy, find_hierarchy(state, address.hierarchy));
  Slot at = hierarchy;
  Address seen{address.hierarchy, {}};
  for (const std::string& name : address.path) {
    seen.path.push_back(name);
    Slot parent = at;
    at = find_child(state, parent, name);
    if (at == 0)
      return Error{ENOENT, fmt::format("no container {}:{} `ctnbpf tree {}:/` shows what there is",
                                       printable(seen.to_string()),
                                       meant_below(state, parent, seen), address.hierarchy)};
  }
  return at;
}

Result<Slot> find(const State& state, std::string_view address) {
  CTN_ASSIGN(Address parsed, parse_address(address));
  return find(state, parsed);
}

std::string name_of(const State& state, Slot slot) {
  return slot < CTN_MAX_HIER || !valid(state, slot) ? "" : std::string(raw_name(state, slot));
}

void append_name(const State& state, Slot slot, std::string& to) {
  if (slot >= CTN_MAX_HIER && valid(state, slot)) to += raw_name(state, slot);
}

std::string path_of(const State& state, Slot slot) {
  std::string path;
  for (int depth = 0; slot >= CTN_MAX_HIER && valid(state, slot) && depth <= CTN_MAX_DEPTH;
       depth++) {
    path.insert(0, "/" + name_of(state, slot));
    slot = state.nodes()[slot].parent;
  }
  return path.empty() ? "/" : path;
}

std::string address_of(const State& state, Slot slot) {
  std::uint32_t hierarchy = slot < CTN_MAX_HIER ? slot : state.nodes()[slot].hierarchy;
  return hierarchy_name(state, hierarchy) + ":" + path_of(state, slot);
}

std::vector<Slot> children(const State& state, Slot parent, Order order) {
  std::vector<Slot> found;
  found.reserve(std::min<std::size_t>(load(state.nodes()[parent].children), state.nodes().size()));
  Slot at = load(state.nodes()[parent].first_child);
  for (std::size_t steps = 0; at != 0 && valid(state, at) && steps < state.nodes().size();
       steps++) {
    const ctn_node& node = state.nodes()[at];
    if (load(node.state) == CTN_ACTIVE && node.parent == parent) found.push_back(at);
    at = load(node.next_sibling);
  }
  if (order == Order::kByName) sort_by_name(state, found);
  return found;
}

std::vector<Slot> subtree(const State& state, Slot top, Order order) {
  std::vector<Slot> out;
  std::vector<Slot> todo{top};
  while (!todo.empty() && out.size() < state.nodes().size()) {
    Slot slot = todo.back();
    todo.pop_back();
    out.push_back(slot);
    if (load(state.nodes()[slot].first_child) == 0) continue;
    std::vector<Slot> below = children(state, slot, order);
    todo.insert(todo.end(), below.rbegin(), below.rend());
  }
  return out;
}

bool within(const State& state, Slot slot, Slot top) {
  for (int depth = 0; depth <= CTN_MAX_DEPTH && valid(state, slot); depth++) {
    if (slot == top) return true;
    if (slot < CTN_MAX_HIER) return false;
    slot = state.nodes()[slot].parent;
  }
  return false;
}

}  // namespace ctnbpf::tree
