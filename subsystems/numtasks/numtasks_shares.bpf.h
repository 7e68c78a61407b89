/* Shares of numtasks, kernel side: see shares/shares_record.h for the words and their two equations.
 * Included by numtasks.bpf.h.
 *
 * Global functions, here and there: the verifier follows each once, by itself, and not again for every
 * path that leads to a call (7.2 counts a million instructions otherwise). */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_SHARES_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_SHARES_BPF_H

struct numtasks_share_walk {
  __u32 slot; /* where the walk stands */
  __u32 stop; /* slot to stop before */
  __s64 delta;
};

static long numtasks_share_one(__u32 i, void *arg) {
  struct numtasks_share_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot == walk->stop) return 1;
  struct numtasks_state *state = slot_at(numtasks, slot);
  if (!state) return 1;
  walk->delta = share_add(&state->share, walk->delta);
  if (slot < CTN_MAX_HIER) walk->delta = 0; /* nobody is above a root */
  walk->slot = state->parent;
  return !walk->delta;
}

/* Enters a charge, or what is given back, up to the first level that has it in its pool. Returns what
 * is left to enter at `stop`. */
__noinline int numtasks_share(__u32 slot, int delta, __u32 stop) {
  struct numtasks_share_walk walk = {.slot = slot, .stop = stop, .delta = delta};
  bpf_loop(CTN_MAX_DEPTH + 2, numtasks_share_one, &walk, 0);
  return walk.delta;
}

struct numtasks_lender {
  __u32 slot;   /* where the walk stands */
  __u32 from;   /* and where each round begins */
  __u64 digest; /* of the words of this round, and of the round before */
  __u64 before;
  __u64 rounds;
  __u32 lent;
};

/* One level; at the same one again after a lost race, and from below after a round that found other words
 * than the one before. */
static long numtasks_lend_one(__u32 i, void *arg) {
  struct numtasks_lender *walk = arg;
  __u32 slot = walk->slot;
  struct numtasks_state *state = slot_at(numtasks, slot);
  if (!state) return 1;
  __u64 old = *(volatile __u64 *)&state->share;
  if (share_has_room(old)) {
    walk->lent = __sync_val_compare_and_swap(&state->share, old, old + CTN_ONE_SHARE) == old;
    return walk->lent;
  }
  walk->digest = share_digest(walk->digest, old);
  walk->slot = state->parent;
  if (slot >= CTN_MAX_HIER) return 0;
  /* The count is a barrier too: the next round reads later than this one. */
  __u64 rounds = __sync_fetch_and_add(&walk->rounds, 1);
  if (rounds && walk->digest == walk->before) return 1;
  walk->before = walk->digest;
  walk->digest = 0;
  walk->slot = walk->from;
  return rounds >= CTN_SHARE_ROUNDS - 1;
}

/* Charges one if some level has room for it; false, with nothing written, if there was a moment in which
 * not even the root had (or words changed in every one of CTN_SHARE_ROUNDS rounds). The count of races
 * that may be lost on the way bounds the loop; each means that another fork came in. */
__noinline bool numtasks_borrow(__u32 slot) {
  struct numtasks_lender lender = {.slot = slot, .from = slot};
  bpf_loop((CTN_SHARE_ROUNDS + 2) * (CTN_MAX_DEPTH + 1), numtasks_lend_one, &lender, 0);
  if (!lender.lent) return false;
  if (lender.slot != slot && !numtasks_share(slot, 1, lender.slot))
    numtasks_share(lender.slot, -1, CLIMB_ALL); /* a level below has got room meanwhile */
  return true;
}

#endif
