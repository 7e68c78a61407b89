#include "shares/shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "ctnbpf/address.h"

namespace ctnbpf::shares {
namespace {

Error invalid(const std::string& what) { return {EINVAL, what}; }

std::string text_of(std::uint32_t share) {
  return share == CTN_DONT_CARE ? "dontcare" : std::to_string(share);
}

/* A share of 0 or more, or none. */
std::optional<std::uint32_t> parse_share(std::string_view text) {
  if (text == "dontcare" || text == "-3") return CTN_DONT_CARE;
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > CTN_SHARES_HIGHEST)
    return {};
  return number;
}

std::uint32_t* field_of(ctn_shares& shares, std::string_view name) {
  if (name == "min_shares") return &shares.min;
  if (name == "max_shares") return &shares.max;
  if (name == "child_shares_divisor") return &shares.divisor;
  return nullptr;
}

Result<void> parse_field(const std::string& attribute, std::string_view field, ctn_shares& out) {
  std::size_t equals = std::min(field.find('='), field.size());
  std::uint32_t* to = field_of(out, field.substr(0, equals));
  if (to == nullptr || equals == field.size())
    return invalid(
        fmt::format("{} cannot have '{}': use min_shares=N, max_shares=N and "
                    "child_shares_divisor=N, parted by commas",
                    attribute, printable(field.substr(0, 80))));
  std::string_view value = field.substr(equals + 1);
  auto number = parse_share(value);
  bool divisor = to == &out.divisor;
  if (!number || (divisor && (*number == 0 || *number == CTN_DONT_CARE)))
    return invalid(fmt::format("{}: {} cannot be '{}': use {} to {}{}", attribute,
                               field.substr(0, equals), printable(value.substr(0, 80)),
                               divisor ? 1 : 0, CTN_SHARES_HIGHEST,
                               divisor ? "" : ", or dontcare"));
  *to = *number;
  return {};
}

std::uint32_t part(std::uint32_t share, std::uint32_t amount, std::uint32_t divisor) {
  return static_cast<std::uint32_t>(std::uint64_t{share} * amount / divisor);
}

std::uint32_t min_of(const ctn_shares& shares) {
  return shares.min == CTN_DONT_CARE ? 0 : shares.min;
}

/* What a container's children are divided from: its guarantee, and the nearest ceiling. */
Amounts in_force(Table& table, Slot slot) {
  Amounts out{table.shares(slot).guarantee, CTN_DONT_CARE};
  for (Slot at = slot;; at = table.parent(at)) {
    bool root = table.parent(at) == at;
    out.ceiling = root ? table.shares(at).guarantee : table.shares(at).ceiling;
    if (root || out.ceiling != CTN_DONT_CARE) return out;
  }
}

/* The word after a change of usage and pool, and by how much `borrowed` changed. */
struct Step {
  __u64 next;
  std::int64_t borrowed;
};
Step step(__u64 old, std::int64_t usage, std::int64_t pool) {
  __u64 next = share_next(old, share_usage(old) + usage, share_pool(old) + pool);
  return {next, share_borrowed(next) - share_borrowed(old)};
}

/* Changes usage and pool of a word in one step; returns by how much `borrowed` changed. */
std::int64_t change(__u64& word, std::int64_t usage, std::int64_t pool) {
  __u64 old = __atomic_load_n(&word, __ATOMIC_ACQUIRE);
  Step made = step(old, usage, pool);
  while (!__atomic_compare_exchange_n(&word, &old, made.next, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE))
    made = step(old, usage, pool);
  return made.borrowed;
}

/* The same for a container, with what follows of it above. */
void change_up(Table& table, Slot slot, std::int64_t usage, std::int64_t pool) {
  std::int64_t above = change(table.word(slot), usage, pool);
  if (table.parent(slot) != slot) charge(table, table.parent(slot), above);
}

/* Of `slot`'s guarantee, out of its parent's pool or into it. */
std::int64_t replace_guarantee(Table& table, Slot slot, std::uint32_t amount) {
  return std::int64_t{amount} - std::exchange(table.shares(slot).guarantee, amount);
}

/* A guarantee moves a part of a pool between child and parent: two words. The child will borrow less with
 * a larger pool, and more with a smaller one; the parent's word takes that together with its own change,
 * and the two change in the order that leaves room for both in between: nobody is refused what was
 * guaranteed before and after.
 *
 * Less: the parent first, which then has the child's pool and what the child will borrow. The child's
 * word is exchanged for the one that was reckoned with; if it has changed, the parent is told first. */
void shrink(Table& table, Slot slot, std::uint32_t amount) {
  std::int64_t more = replace_guarantee(table, slot, amount);
  Slot parent = table.parent(slot);
  __u64& word = table.word(slot);
  if (parent == slot) {
    change(word, 0, more);
    return;
  }
  __u64 old = __atomic_load_n(&word, __ATOMIC_ACQUIRE);
  Step made = step(old, 0, more);
  std::int64_t lent = made.borrowed;
  change_up(table, parent, lent, -more);
  while (!__atomic_compare_exchange_n(&word, &old, made.next, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE)) {
    made = step(old, 0, more);
    charge(table, parent, made.borrowed - std::exchange(lent, made.borrowed));
  }
}

/* More: the children first. What they have borrowed is still in the parents' words, and so is the pool for
 * it. The parents' pools shrink when every charge that has seen the children's old pools has arrived: one
 * that is half-way may count in the parent where the child has room for it now. */
struct Grown {
  Slot slot;
  std::int64_t more;
  std::int64_t lent;
};
void settle(Table& table, const std::vector<Grown>& grown) {
  if (!grown.empty()) table.settle();
  for (const Grown& at : grown) change_up(table, table.parent(at.slot), at.lent, -at.more);
}

/* What a container is to have. */
struct Target {
  Slot slot;
  Amounts amounts;
};

/* `top`, whose amounts are known, and all below it: parents before their children. Sets the ceilings. */
std::vector<Target> divide(Table& table, Slot top, Amounts its) {
  std::vector<Target> targets{{top, its}};
  for (std::size_t i = 0; i < targets.size(); i++) {
    Target at = targets[i];
    for (Slot child : table.children(at.slot)) {
      const ctn_shares& shares = table.shares(child);
      Amounts part_of = amounts(shares, at.amounts, divisor_of(table.shares(at.slot)));
      table.set_ceiling(child, shares.max == CTN_DONT_CARE ? CTN_DONT_CARE : part_of.ceiling);
      targets.push_back({child, part_of});
    }
  }
  return targets;
}

}  // namespace

std::uint32_t divisor_of(const ctn_shares& shares) {
  return shares.divisor == 0 ? CTN_SHARES_DIVISOR : shares.divisor;
}

std::string to_string(const ctn_shares& shares) {
  return fmt::format("min_shares={},max_shares={},child_shares_divisor={}", text_of(shares.min),
                     text_of(shares.max), divisor_of(shares));
}

Result<ctn_shares> parse(const std::string& attribute, const std::string& text, ctn_shares base) {
  std::string_view rest = text;
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  for (bool more = true; more;) {
    std::size_t comma = std::min(rest.find(','), rest.size());
    CTN_TRY(parse_field(attribute, rest.substr(0, comma), base));
    more = comma < rest.size();
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return base;
}

Amounts amounts(const ctn_shares& own, Amounts parent, std::uint32_t divisor) {
  Amounts out{part(min_of(own), parent.guarantee, divisor), parent.ceiling};
  if (own.max != CTN_DONT_CARE && parent.ceiling != CTN_DONT_CARE)
    out.ceiling = part(own.max, parent.ceiling, divisor);
  return out;
}

Result<void> check(Table& table, Slot slot, const ctn_shares& wanted) {
  std::uint64_t given = 0;
  std::uint32_t highest = 0;
  for (Slot child : table.children(slot)) {
    const ctn_shares& its = table.shares(child);
    given += min_of(its);
    if (its.max != CTN_DONT_CARE) highest = std::max(highest, its.max);
  }
  std::uint32_t divisor = divisor_of(wanted);
  if (given > divisor)
    return invalid(
        fmt::format("child_shares_divisor cannot be {}: the children's min_shares sum up to {}",
                    divisor, given));
  if (highest > divisor)
    return invalid(fmt::format("child_shares_divisor cannot be {}: a child has max_shares {}",
                               divisor, highest));
  Slot parent = table.parent(slot);
  if (parent == slot) return {};
  divisor = divisor_of(table.shares(parent));
  if (wanted.min != CTN_DONT_CARE && wanted.min > wanted.max)
    return invalid(fmt::format("min_shares {} exceeds max_shares {}", wanted.min, wanted.max));
  if (wanted.max != CTN_DONT_CARE && wanted.max > divisor)
    return invalid(fmt::format("max_shares {} exceeds the parent's child_shares_divisor {}",
                               wanted.max, divisor));
  std::uint64_t siblings = 0;
  for (Slot other : table.children(parent))
    if (other != slot) siblings += min_of(table.shares(other));
  if (siblings + min_of(wanted) > divisor)
    return invalid(
        fmt::format("min_shares {} and the {} of its siblings exceed the parent's "
                    "child_shares_divisor {}",
                    min_of(wanted), siblings, divisor));
  return {};
}

void charge(Table& table, Slot slot, std::int64_t delta) {
  for (; delta != 0; slot = table.parent(slot)) {
    delta = share_add(&table.word(slot), delta);
    if (table.parent(slot) == slot) return;
  }
}

void recalculate(Table& table, Slot top) {
  Slot parent = table.parent(top);
  Amounts its{table.total(), table.total()};
  if (parent != top) {
    const ctn_shares& own = table.shares(top);
    its = amounts(own, in_force(table, parent), divisor_of(table.shares(parent)));
    table.set_ceiling(top, own.max == CTN_DONT_CARE ? CTN_DONT_CARE : its.ceiling);
  }
  std::vector<Target> targets = divide(table, top, its);
  for (auto at = targets.rbegin(); at != targets.rend(); ++at)
    if (at->amounts.guarantee < table.shares(at->slot).guarantee)
      shrink(table, at->slot, at->amounts.guarantee);
  std::vector<Grown> grown;
  for (const Target& at : targets) {
    if (at.amounts.guarantee <= table.shares(at.slot).guarantee) continue;
    std::int64_t more = replace_guarantee(table, at.slot, at.amounts.guarantee);
    std::int64_t lent = change(table.word(at.slot), 0, more);
    if (table.parent(at.slot) != at.slot) grown.push_back({at.slot, more, lent});
  }
  settle(table, grown);
}

void forsake(Table& table, Slot slot) {
  table.shares(slot).min = CTN_DONT_CARE;
  shrink(table, slot, 0);
}

}  // namespace ctnbpf::shares
