/* Shares, the part that both sides read: a container's record and the word its charges change.
 *
 * A container's guarantee is reserved at its parent. What of its guarantee it has not given on to
 * its children is its *pool*. Its *usage* is what its own tasks hold plus what its children borrow,
 * and a child borrows what its usage exceeds its pool by:
 *
 *     borrowed(c) = max(0, usage(c) - pool(c))
 *     usage(c)    = own(c) + sum of borrowed(child)
 *
 * So a charge ends at the first level whose pool has room, and where not even the root's has any it
 * is refused. Usage and pool are parts of one word: each atomic change of it sees a consistent pair,
 * and whatever `borrowed` changes by is handed to the parent. Nobody has to remember how a charge was
 * made; it is given back by the same rule. When all that is under way has arrived, the two equations
 * hold at every level, however charges and changes of guarantees interleaved.
 *
 * Who may be refused first takes one where there is room, by compare-and-swap, and then enters the
 * charge from below; should a level in between have got room meanwhile, what was taken is given back
 * (`numtasks_borrow` is the kernel's side of it). So a refused charge writes nothing, and no pool ever
 * looks fuller than those who were let in make it.
 *
 * A refusal needs a moment in which no level had room. Levels are read one after the other, so they are
 * read until two rounds have found the same words: between those rounds all of them were that. */
#ifndef CTNBPF_SUBSYSTEMS_SHARES_RECORD_H
#define CTNBPF_SUBSYSTEMS_SHARES_RECORD_H

#include <linux/types.h>

/* A word: pool in the low 24 bits, usage in 24 above (signed), and in the high 16 a number that every
 * change moves on, so that who reads the same word twice knows that it was that in between. (It would
 * take just 65,536 changes between two looks of one fork to hide one.) */
#define CTN_SHARE_POOL ((1ULL << 24) - 1)
#define CTN_SHARE_CHANGE (1ULL << 48)
#define CTN_ONE_SHARE ((1ULL << 24) + CTN_SHARE_CHANGE) /* what one more of usage adds to a word */
#define CTN_DONT_CARE (~0U) /* as a share: no guarantee, no ceiling; as an amount: no ceiling */
#define CTN_SHARES_DIVISOR 100
#define CTN_SHARES_HIGHEST 4194304U /* of shares, divisors and amounts */

/* By slot, written by the control plane only. A root's `guarantee` is the amount to share out. */
struct ctn_shares {
  __u32 min; /* shares of the parent's divisor, or CTN_DONT_CARE */
  __u32 max;
  __u32 divisor;   /* what the children's shares are parts of; 0 stands for CTN_SHARES_DIVISOR */
  __u32 guarantee; /* what they amount to */
  __u32 ceiling;   /* of its own, or CTN_DONT_CARE */
};

/* Signed: a give-back may overtake the charge it is due to by a moment. */
static inline __attribute__((always_inline)) __s32 share_usage(__u64 word) {
  return (__s32)((__s64)(word << 16) >> 40);
}

static inline __attribute__((always_inline)) __u32 share_pool(__u64 word) {
  return (__u32)(word & CTN_SHARE_POOL);
}

static inline __attribute__((always_inline)) __s64 share_borrowed(__u64 word) {
  __s64 over = (__s64)share_usage(word) - (__s64)share_pool(word);
  return over > 0 ? over : 0;
}

/* The word with this usage and pool that follows `old`. */
static inline __attribute__((always_inline)) __u64 share_next(__u64 old, __s64 usage, __s64 pool) {
  __u64 both = (((__u64)usage << 24) & ~CTN_SHARE_POOL) | (__u64)(pool > 0 ? pool : 0);
  return ((old & -CTN_SHARE_CHANGE) + CTN_SHARE_CHANGE) | (both & (CTN_SHARE_CHANGE - 1));
}

/* May one more be charged without borrowing? */
static inline __attribute__((always_inline)) int share_has_room(__u64 word) {
  return (__s64)share_usage(word) < (__s64)share_pool(word);
}

/* Changes the usage by `delta`; returns by how much `borrowed` changed, which is for the parent. */
static inline __attribute__((always_inline)) __s64 share_add(__u64 *word, __s64 delta) {
  __u64 step = ((__u64)delta << 24) + CTN_SHARE_CHANGE;
  __u64 old = __sync_fetch_and_add(word, step);
  return share_borrowed(old + step) - share_borrowed(old);
}

/* Two rounds with the same digest of their words have met the same words. */
static inline __attribute__((always_inline)) __u64 share_digest(__u64 digest, __u64 word) {
  return (digest ^ word) * 0x9e3779b97f4a7c15ULL;
}

#define CTN_SHARE_ROUNDS 32 /* after that a fork that found no room in any of them is refused */

#endif
