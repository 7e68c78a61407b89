/* numtasks: what bounds a container, and its counters against a walk over all tasks. */
#include <fmt/format.h>

#include "ctnbpf/tree.h"
#include "numtasks/numtasks_parts.h"
#include "shares/shares.h"

namespace ctnbpf::numtasks {
namespace {

std::uint64_t room(std::uint64_t used, std::uint64_t most) { return most - std::min(used, most); }

std::uint64_t used_of(__u64 word) {
  return static_cast<std::uint64_t>(std::max<std::int32_t>(share_usage(word), 0));
}

std::string name(const State& state, Slot slot) { return printable(tree::address_of(state, slot)); }

/* What a task of `slot` may still borrow of the root, after what is guaranteed to it on the way. */
Bound borrowing(std::span<const numtasks_state> all, Slot slot) {
  std::uint64_t guaranteed = 0;
  for (; slot >= CTN_MAX_HIER; slot = all[slot].parent) {
    __u64 word = load(all[slot].share);
    guaranteed += room(used_of(word), share_pool(word));
  }
  __u64 word = load(all[slot].share);
  std::uint64_t used = used_of(word);
  return {"numtasks.total_numtasks", slot, used, share_pool(word), guaranteed + room(used, share_pool(word))};
}

/* Containers by depth, deepest first: a child's figures are complete before they go to its parent. */
std::vector<Slot> deepest_first(const State& state, Slot root) {
  std::vector<Slot> slots;
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++)
    if (state.nodes()[slot].state != CTN_FREE && state.nodes()[slot].hierarchy == root) slots.push_back(slot);
  std::stable_sort(slots.begin(), slots.end(),
                   [&](Slot a, Slot b) { return state.nodes()[a].depth > state.nodes()[b].depth; });
  return slots;
}

void check_shares(const State& state, std::span<const numtasks_state> all, Slot root, const std::vector<Slot>& slots,
                  std::span<const std::uint64_t> charged, std::vector<std::string>& found) {
  std::vector<std::int64_t> usage(charged.begin(), charged.end());
  std::vector<std::uint64_t> given(all.size());
  for (Slot slot : slots) given[all[slot].parent] += all[slot].shares.guarantee;
  auto look = [&](Slot slot) {
    __u64 word = load(all[slot].share);
    std::uint64_t pool = room(given[slot], all[slot].shares.guarantee);
    if (share_pool(word) != pool)
      found.push_back(fmt::format("{}: {} of its guaranteed tasks are its own, the shares make it {}",
                                  name(state, slot), share_pool(word), pool));
    if (share_usage(word) != usage[slot])
      found.push_back(fmt::format("{}: its shares count {} tasks, a walk over all tasks finds {}", name(state, slot),
                                  share_usage(word), usage[slot]));
    return std::max<std::int64_t>(usage[slot] - static_cast<std::int64_t>(pool), 0);
  };
  usage[root] = 0;
  for (Slot slot : slots) usage[all[slot].parent] += look(slot);
  look(root);
}

}  // namespace

Result<std::vector<Bound>> bounds(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  std::vector<Bound> out;
  if (slot < CTN_MAX_HIER) return out;
  for (Slot at = slot; at >= CTN_MAX_HIER && at < all.size(); at = all[at].parent) {
    const numtasks_state& own = all[at];
    std::uint64_t used = load(own.current);
    std::uint64_t limit = load(own.limit);
    if (limit != CTN_UNLIMITED) out.push_back({"numtasks.limit", at, used, limit, room(used, limit)});
    std::uint64_t ceiling = load(own.shares.ceiling);
    if (ceiling != CTN_DONT_CARE) out.push_back({"numtasks.ceiling", at, used, ceiling, room(used, ceiling)});
    if ((load(own.flags) & NUMTASKS_RATE_HERE) != 0) {
      CTN_ASSIGN(std::uint64_t recent, recent_forks(state, at));
      std::uint64_t rate = load(own.rate);
      out.push_back({"numtasks.forkrate", at, recent, rate, room(recent, rate)});
    }
  }
  if ((load(all[slot].flags) & NUMTASKS_SHARES) != 0) out.push_back(borrowing(all, slot));
  return out;
}

/* A task that is below a container already makes no difference to it. Tasks that come in use what is
 * guaranteed on their way first; what else they need is borrowed of the root. */
Result<void> within_limits(const State& state, Slot slot, std::span<const Slot> from) {
  CTN_ASSIGN(auto bounds_there, bounds(state, slot));
  for (const Bound& bound : bounds_there) {
    if (bound.what == "numtasks.forkrate") continue; /* nobody forks */
    std::uint64_t coming = 0;
    for (Slot one : from)
      if (bound.on < CTN_MAX_HIER ? one < CTN_MAX_HIER : !tree::within(state, one, bound.on)) coming++;
    if (coming > bound.left)
      return Error{EAGAIN, fmt::format("{} task{} would exceed {} of {}: {} used of {}, room for {}", coming,
                                       coming == 1 ? "" : "s", bound.what, name(state, bound.on), bound.used,
                                       bound.most, bound.left)};
  }
  return {};
}

/* `current` of each container against the charges a walk found, summed up the tree; likewise the words
 * of shares, by their two equations. */
Result<std::vector<std::string>> check(const State& state, std::span<const std::uint64_t> charged) {
  CTN_ASSIGN(auto all, states(state));
  Slot root = load(state.core().bound[CTN_NUMTASKS]) - 1U;
  std::vector<Slot> slots = deepest_first(state, root);
  std::vector<std::uint64_t> expected(charged.begin(), charged.end());
  std::vector<std::string> found;
  for (Slot slot : slots) {
    expected[all[slot].parent] += expected[slot];
    if (load(all[slot].current) != expected[slot])
      found.push_back(fmt::format("{}: numtasks.current is {}, a walk over all tasks finds {}", name(state, slot),
                                  load(all[slot].current), expected[slot]));
  }
  if (load(all[root].changing) != 0)
    found.push_back(fmt::format("{}: a change of shares was cut short", name(state, root)));
  else if ((load(all[root].flags) & NUMTASKS_SHARES) != 0)
    check_shares(state, all, root, slots, charged, found);
  return found;
}

}  // namespace ctnbpf::numtasks
