/* numtasks: what bounds the tasks of a container, for `explain` and `attach --within-limits`. */
#include <fmt/format.h>

#include <map>

#include "ctnbpf/tree.h"
#include "numtasks/numtasks_parts.h"

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
  return {"tasks", "numtasks.total_numtasks", slot,
          used,    share_pool(word),          guaranteed + room(used, share_pool(word))};
}

}  // namespace

Result<std::vector<Bound>> bounds(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  std::vector<Bound> out;
  if (slot < CTN_MAX_HIER) return out;
  for (Slot at = slot; at >= CTN_MAX_HIER && at < all.size(); at = all[at].parent) {
    const numtasks_state& own = all[at];
    std::uint64_t used = current_of(own);
    std::uint64_t limit = load(own.limit);
    if (limit != CTN_UNLIMITED)
      out.push_back({"tasks", "numtasks.limit", at, used, limit, room(used, limit)});
    std::uint64_t ceiling = load(own.shares.ceiling);
    if (ceiling != CTN_DONT_CARE)
      out.push_back({"tasks", "numtasks.ceiling", at, used, ceiling, room(used, ceiling)});
    if ((load(own.flags) & NUMTASKS_RATE_HERE) != 0) {
      CTN_ASSIGN(std::uint64_t recent, recent_forks(state, at));
      std::uint64_t rate = load(own.rate);
      out.push_back({"tasks", "numtasks.forkrate", at, recent, rate, room(recent, rate)});
    }
  }
  if ((load(all[slot].flags) & NUMTASKS_SHARES) != 0) out.push_back(borrowing(all, slot));
  return out;
}

namespace {

/* What moving the tasks would do to the words of shares, tried on copies: the root's pool must not get
 * fuller than full. What a task gives back where it is now is there for the next one. */
bool can_borrow(std::span<const numtasks_state> all, Slot slot, std::span<const Slot> from) {
  std::map<Slot, __u64> words;
  auto charge = [&](Slot at, std::int64_t delta) {
    for (; delta != 0; at = all[at].parent) {
      delta = share_add(&words.try_emplace(at, load(all[at].share)).first->second, delta);
      if (at < CTN_MAX_HIER) return delta;
    }
    return delta;
  };
  std::int64_t over = 0;
  for (Slot one : from) {
    if (one >= CTN_MAX_HIER) over += charge(one, -1);
    over += charge(slot, 1);
  }
  return over <= 0;
}

}  // namespace

/* A task that is below a container already makes no difference to it. */
Result<void> within_limits(const State& state, Slot slot, std::span<const Slot> from) {
  CTN_ASSIGN(auto bounds_there, bounds(state, slot));
  CTN_ASSIGN(auto all, states(state));
  for (const Bound& bound : bounds_there) {
    if (bound.what == "numtasks.forkrate") continue; /* nobody forks */
    std::uint64_t coming = 0;
    for (Slot one : from)
      if (bound.on < CTN_MAX_HIER || !tree::within(state, one, bound.on)) coming++;
    if (bound.on < CTN_MAX_HIER ? can_borrow(all, slot, from) : coming <= bound.left) continue;
    return Error{EAGAIN, fmt::format("{} task{} would exceed {} of {}: {} used of {}, room for {}",
                                     coming, coming == 1 ? "" : "s", bound.what,
                                     name(state, bound.on), bound.used, bound.most, bound.left)};
  }
  return {};
}

}  // namespace ctnbpf::numtasks
