/* Fork rates of numtasks, kernel side: see forkrate.h for how one is kept. Included by numtasks.bpf.h.
 *
 * A fork is looked at on all levels before it is counted on any, so one that is refused above has not
 * used up the rates below; only a fork that loses a race in between has. */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_RATE_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_RATE_BPF_H

/* By slot; touched only below a container that has a rate. */
CTN_BY_SLOT(numtasks_rates, struct numtasks_rate);

struct numtasks_rate_walk {
  __u32 slot;
  __u32 refused; /* slot whose rate refused, or 0 */
  __u64 now;
  __u32 let_in;
};

static __always_inline __u32 rate_step(const struct numtasks_state *state, __u64 now) {
  __u32 seconds = *(const volatile __u32 *)&state->rate_interval;
  return now / forkrate_step((seconds ? seconds : 1) * 1000000000ULL);
}

/* One try at the level the walk stands at. */
static long numtasks_rate_try(__u32 i, void *arg) {
  struct numtasks_rate_walk *walk = arg;
  __u32 slot = walk->slot;
  struct numtasks_state *state = slot_at(numtasks, slot);
  struct numtasks_rate *rate = slot_at(numtasks_rates, slot);
  if (!state || !rate) return 1;
  __u64 limit = *(volatile __u32 *)&state->rate;
  int said = forkrate_try_once(rate, &state->rate_sequence, rate_step(state, walk->now), limit);
  walk->let_in = said > 0;
  return said >= 0;
}

static long numtasks_rate_look(__u32 i, void *arg) {
  struct numtasks_rate_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = slot_at(numtasks, slot);
  struct numtasks_rate *rate = slot_at(numtasks_rates, slot);
  if (!state || !rate) return 1;
  if (state->flags & NUMTASKS_RATE_HERE &&
      !forkrate_has_room(rate, rate_step(state, walk->now), *(volatile __u32 *)&state->rate)) {
    walk->refused = slot;
    return 1;
  }
  walk->slot = state->parent;
  return 0;
}

static long numtasks_rate_take(__u32 i, void *arg) {
  struct numtasks_rate_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = slot_at(numtasks, slot);
  if (!state) return 1;
  if (state->flags & NUMTASKS_RATE_HERE) {
    walk->let_in = 0;
    bpf_loop(FORKRATE_RACES, numtasks_rate_try, walk, 0);
    if (!walk->let_in) {
      walk->refused = slot;
      return 1;
    }
  }
  walk->slot = state->parent;
  return 0;
}

/* The container whose rate leaves no room for a fork of a task in `slot` at `now`, or 0. */
__noinline __u32 numtasks_rate_full(__u32 slot, __u64 now) {
  struct numtasks_rate_walk walk = {.slot = slot, .now = now};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_rate_look, &walk, 0);
  return walk.refused;
}

/* Counts the fork; returns the container whose rate was used up meanwhile, or 0. */
__noinline __u32 numtasks_rate_charge(__u32 slot, __u64 now) {
  struct numtasks_rate_walk walk = {.slot = slot, .now = now};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_rate_take, &walk, 0);
  return walk.refused;
}

#endif
