/* Fork rate: at most `limit` forks in any interval of a given length, whenever it begins.
 *
 * Time is cut into steps of a 15th of the interval. A ring holds how many forks each of the last 16
 * steps had; a fork is let in if the steps that an interval can touch, this one and the 15 before,
 * hold fewer than `limit`. So no interval, at a step's edge or across it, ever holds more. The price:
 * a fork is remembered for up to a 15th longer than the interval; who forks without a pause gets
 * between 15/16 of the rate and all of it.
 *
 * There is no lock. A fork counts itself in the ring first and then advances a sequence number; if somebody
 * else advanced it since we read the ring, the count is taken back and all is looked at again. So
 * every fork that was let in saw all that were let in before it. A count that is about to be taken
 * back may refuse another fork, never let one in.
 *
 * Read by both compilers; the unit tests run it against a log of every fork. */
#ifndef CTNBPF_SUBSYSTEMS_FORKRATE_H
#define CTNBPF_SUBSYSTEMS_FORKRATE_H

#include <linux/types.h>

#define FORKRATE_STEPS 15 /* an interval */
#define FORKRATE_RING 16  /* a step more than an interval has; a power of two */
#define FORKRATE_TRIES 4
#define FORKRATE_RACES 16 /* lost before a fork is refused */
#define FORKRATE_AGAIN (~0ULL)
#define FORKRATE_AHEAD 64 /* steps: what is later than this is of another length of steps */

struct numtasks_rate {
  __u64 ring[FORKRATE_RING]; /* high half: number of the step; low half: forks in it */
};

/* ns of a step; rounded up, so that the steps an interval touches are never more than 16. */
static inline __attribute__((always_inline)) __u64 forkrate_step(__u64 interval_ns) {
  return (interval_ns + FORKRATE_STEPS - 1) / FORKRATE_STEPS;
}

/* All ones if number < below, else zero; without a branch, as each doubles what the verifier follows. */
static inline __attribute__((always_inline)) __u64 forkrate_if_below(__u32 number, __u32 below) {
  __u64 sign = (__u64)number - below;
  __asm__("" : "+r"(sign)); /* or clang makes it a branch again */
  return (__u64)((__s64)sign >> 63);
}

/* The present step: `step`, or a later one that a fork was counted in already. Who was held up after
 * it read the clock must not look back from then: what it would have to see may be overwritten. */
static inline __attribute__((always_inline)) __u32 forkrate_newest(const struct numtasks_rate *rate,
                                                                   __u32 step) {
  __u32 newest = step;
  for (int i = 0; i < FORKRATE_RING; i++) {
    __u32 ahead = (__u32)(*(const volatile __u64 *)&rate->ring[i] >> 32) - newest;
    newest += ahead & (__u32)forkrate_if_below(ahead - 1, FORKRATE_AHEAD);
  }
  return newest;
}

/* Forks in the steps that count at `step`, which was the newest; FORKRATE_AGAIN if it is not any more:
 * the newer one is in the place of one that counts. */
static inline __attribute__((always_inline)) __u64 forkrate_recent(const struct numtasks_rate *rate,
                                                                   __u32 step) {
  __u64 sum = 0, newer = 0;
  for (int i = 0; i < FORKRATE_RING; i++) {
    __u64 entry = *(const volatile __u64 *)&rate->ring[i];
    __u32 age = step - (__u32)(entry >> 32);
    sum += (__u32)entry & forkrate_if_below(age, FORKRATE_STEPS + 1);
    newer |= forkrate_if_below(-age - 1, FORKRATE_AHEAD);
  }
  return sum | newer;
}

/* One more in the entry of `step`; 0 if that entry is taken by a later one, or always changing. */
static inline __attribute__((always_inline)) int forkrate_count(__u64 *entry, __u32 step) {
  for (int i = 0; i < FORKRATE_TRIES; i++) {
    __u64 old = *(volatile __u64 *)entry;
    __u32 later = (__u32)(old >> 32) - step;
    if (later - 1 < FORKRATE_AHEAD) return 0;
    __u64 next = later == 0 ? old + 1 : ((__u64)step << 32) | 1;
    if (__sync_val_compare_and_swap(entry, old, next) == old) return 1;
  }
  return 0;
}

/* Takes a count back, unless its step is forgotten by now. Given up after many lost races: the fork
 * then counts though it was not let in, which refuses more, not less. */
static inline __attribute__((always_inline)) void forkrate_uncount(__u64 *entry, __u32 step) {
  for (int i = 0; i < FORKRATE_TRIES; i++) {
    __u64 old = *(volatile __u64 *)entry;
    if ((__u32)(old >> 32) != step || !(__u32)old) return;
    if (__sync_val_compare_and_swap(entry, old, old - 1) == old) return;
  }
}

/* Would forkrate_try_once let one in? */
static inline __attribute__((always_inline)) int forkrate_has_room(const struct numtasks_rate *rate,
                                                                   __u32 step, __u64 limit) {
  __u64 recent = forkrate_recent(rate, forkrate_newest(rate, step));
  return recent == FORKRATE_AGAIN || recent < limit;
}

/* Lets one fork in at `step` (time / forkrate_step): 1; or not: 0; or was disturbed: -1. */
static inline __attribute__((always_inline)) int forkrate_try_once(struct numtasks_rate *rate,
                                                                   __u32 *sequence, __u32 step,
                                                                   __u64 limit) {
  /* A read and a barrier: what is read below is no older. (clang has no barrier alone for BPF.) */
  __u32 seen = __sync_fetch_and_add(sequence, 0);
  step = forkrate_newest(rate, step);
  __u64 recent = forkrate_recent(rate, step);
  if (recent == FORKRATE_AGAIN) return -1;
  if (recent >= limit) return 0;
  __u64 *entry = &rate->ring[step & (FORKRATE_RING - 1)];
  if (!forkrate_count(entry, step)) return -1;
  if (__sync_val_compare_and_swap(sequence, seen, seen + 1) == seen) return 1;
  forkrate_uncount(entry, step);
  return -1;
}

#endif
