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
 * is refused. Usage and pool are halves of one word: each atomic change of it sees a consistent pair,
 * and whatever `borrowed` changes by is handed to the parent. Nobody has to remember how a charge was
 * made; it is given back by the same rule. When all that is under way has arrived, the two equations
 * hold at every level, however charges and changes of guarantees interleaved.
 *
 * Who may be refused first takes one where there is room, by compare-and-swap, and then enters the
 * charge from below; should a level in between have got room meanwhile, what was taken is given back
 * (`numtasks_borrow` is the kernel's side of it). So a refused charge writes nothing, and no pool ever
 * looks fuller than those who were let in make it. */
#ifndef CTNBPF_SUBSYSTEMS_SHARES_RECORD_H
#define CTNBPF_SUBSYSTEMS_SHARES_RECORD_H

#include <linux/types.h>

#define CTN_ONE_SHARE (1ULL << 32) /* of usage, in a word */
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

/* Usage in the high half, signed: a give-back may overtake the charge it is due to by a moment. */
static inline __attribute__((always_inline)) __s32 share_usage(__u64 word) {
  return (__s32)(word >> 32);
}

static inline __attribute__((always_inline)) __u32 share_pool(__u64 word) { return (__u32)word; }

static inline __attribute__((always_inline)) __s64 share_borrowed(__u64 word) {
  __s64 over = (__s64)share_usage(word) - (__s64)share_pool(word);
  return over > 0 ? over : 0;
}

static inline __attribute__((always_inline)) __u64 share_word(__s64 usage, __s64 pool) {
  return ((__u64)usage << 32) | (__u32)(pool > 0 ? pool : 0);
}

/* May one more be charged without borrowing? */
static inline __attribute__((always_inline)) int share_has_room(__u64 word) {
  return (__s64)share_usage(word) < (__s64)share_pool(word);
}

/* Changes the usage by `delta`; returns by how much `borrowed` changed, which is for the parent. */
static inline __attribute__((always_inline)) __s64 share_add(__u64 *word, __s64 delta) {
  __u64 step = (__u64)delta << 32;
  __u64 old = __sync_fetch_and_add(word, step);
  return share_borrowed(old + step) - share_borrowed(old);
}

#endif
