/* The shares of Resource Groups: how containers divide an amount among their children.
 *
 * A container gives its children parts of `child_shares_divisor` (100): `min_shares` guarantees
 * floor(min_shares * parent's guarantee / parent's divisor), `max_shares` is a ceiling of
 * floor(max_shares * parent's ceiling / parent's divisor). `dontcare` is no guarantee or no ceiling;
 * below a container without a ceiling counts that of the nearest one above that has one. The root's
 * guarantee and ceiling are the amount to divide.
 *
 * This knows no subsystem. One that divides something has a ctn_shares and a word (shares_record.h)
 * for each container, charges words in its hooks, and gives access to them by a Table. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctnbpf/result.h"
#include "shares/shares_record.h"

namespace ctnbpf::shares {

using Slot = std::uint32_t;

struct Amounts {
  std::uint32_t guarantee;
  std::uint32_t ceiling; /* in force for the children; CTN_DONT_CARE only without any above */
};

/* One hierarchy's containers, as a subsystem keeps them. */
class Table {
 public:
  virtual ~Table() = default;
  virtual ctn_shares& shares(Slot slot) = 0;
  virtual __u64& word(Slot slot) = 0;
  /* A root is its own parent. */
  virtual Slot parent(Slot slot) = 0;
  /* Those in the tree; a removed one has nothing guaranteed any more. */
  virtual std::vector<Slot> children(Slot slot) = 0;
  /* Stores shares(slot).ceiling and what follows of it. */
  virtual void set_ceiling(Slot slot, std::uint32_t ceiling) = 0;
  /* The amount to divide: what the root is to have. */
  virtual std::uint32_t total() = 0;
  /* Returns when every charge and give-back that had begun has arrived at all its levels. */
  virtual void settle() = 0;
};

/* "min_shares=30,max_shares=dontcare,child_shares_divisor=100" */
std::string to_string(const ctn_shares& shares);
/* Some or all of the three, parted by commas; `-3` is the `dontcare` of 2006. The others stay as in
 * `base`. EINVAL names what is wrong. */
Result<ctn_shares> parse(const std::string& attribute, const std::string& text, ctn_shares base);

/* May `slot`, whose parent is `parent`, have the shares `wanted`? EINVAL with the numbers: the sum of
 * the children's min exceeds the divisor; max does; min exceeds max; a divisor below what is given. */
Result<void> check(Table& table, Slot slot, const ctn_shares& wanted);

/* What `own` shares amount to below a parent with these amounts and divisor. */
Amounts amounts(const ctn_shares& own, Amounts parent, std::uint32_t divisor);
std::uint32_t divisor_of(const ctn_shares& shares);

/* Makes the amounts of `top` and all below anew, and the pools with them. What shrinks does so first,
 * from the leaves up, then what grows, from the top down: so a pool never gives what it has not. Where
 * something grows the parents' pools shrink after a settle(); until then more may be lent than there is. */
void recalculate(Table& table, Slot top);
/* Nothing is guaranteed to a container that was removed; what it holds is borrowed from now on. */
void forsake(Table& table, Slot slot);
/* Charges `delta` to a container by force, up the tree. */
void charge(Table& table, Slot slot, std::int64_t delta);

}  // namespace ctnbpf::shares
