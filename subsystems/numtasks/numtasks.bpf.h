/* numtasks, kernel side: counts tasks up the tree and refuses a fork over a limit, over what is left
 * to borrow where shares are in force, or over a fork rate.
 *
 * A limit may be exceeded by attaching tasks and by lowering it, never by forking: check and charge
 * are one compare-and-swap at each level. Reading the record of another CPU's charge half-way up
 * its walk is harmless: it is either completed or taken back, and in between a racing fork may be
 * refused that a moment later would have passed. */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_BPF_H

#include "ctn.bpf.h"
#include "events.bpf.h"
#include "numtasks/numtasks.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* one per slot, set at load */
  __type(key, __u32);
  __type(value, struct numtasks_state);
} numtasks SEC(".maps");

/* By slot; touched only below a container that has a rate. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct numtasks_rate);
} numtasks_rates SEC(".maps");

struct numtasks_walk {
  __u32 slot;    /* where the walk stands */
  __u32 stop;    /* slot to stop before; 0: only at the root */
  __u32 refused; /* slot whose limit refused, or 0 */
};

static long numtasks_charge_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  if (!counter_try_charge(&state->current, *(volatile __u64 *)&state->bound)) {
    walk->refused = slot;
    return 1;
  }
  walk->slot = state->parent;
  return 0;
}

static long numtasks_force_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot == walk->stop || slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  __sync_fetch_and_add(&state->current, 1);
  walk->slot = state->parent;
  return 0;
}

/* Takes back what a refused walk charged; `peak` must not see those. */
static long numtasks_revert_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot == walk->stop || slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  __sync_fetch_and_add(&state->current, -1);
  walk->slot = state->parent;
  return 0;
}

static long numtasks_uncharge_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot == walk->stop || slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  counter_uncharge_peak(&state->current, &state->peak);
  walk->slot = state->parent;
  return 0;
}

/* --- shares: see shares/shares_record.h -------------------------------------------------------- */

struct numtasks_share_walk {
  __u32 slot;
  __u32 refused; /* the root, when its pool has no room */
  __s64 delta;
};

static long numtasks_share_one(__u32 i, void *arg) {
  struct numtasks_share_walk *walk = arg;
  __u32 slot = walk->slot;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  walk->delta = share_add(&state->share, walk->delta);
  if (!walk->delta) return 1;
  if (slot < CTN_MAX_HIER) {
    walk->refused = walk->delta > 0;
    return 1;
  }
  walk->slot = state->parent;
  return 0;
}

/* Up to the first level that has it in its pool. True: the root had no room, and has it all the same;
 * who may be refused takes it back. A racing fork that would borrow may be refused meanwhile. */
static __always_inline bool numtasks_share(__u32 slot, __s64 delta) {
  struct numtasks_share_walk walk = {.slot = slot, .delta = delta};
  bpf_loop(CTN_MAX_DEPTH + 2, numtasks_share_one, &walk, 0);
  return walk.refused;
}

/* --- fork rates: see forkrate.h ----------------------------------------------------------------- */

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
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  struct numtasks_rate *rate = bpf_map_lookup_elem(&numtasks_rates, &slot);
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
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  struct numtasks_rate *rate = bpf_map_lookup_elem(&numtasks_rates, &slot);
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
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
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

/* The container whose rate refuses a fork of a task in `slot`, or 0. All levels are looked at before
 * any is charged; only a fork that loses a race there has used up some of the rates below. Not
 * inlined: forks without a rate do not come here. */
__noinline __u32 numtasks_over_rate(__u32 slot) {
  struct numtasks_rate_walk walk = {.slot = slot, .now = bpf_ktime_get_ns()};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_rate_look, &walk, 0);
  if (walk.refused) return walk.refused;
  walk.slot = slot;
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_rate_take, &walk, 0);
  return walk.refused;
}

/* --- charging ------------------------------------------------------------------------------------
 *
 * Global functions: the verifier follows each once, by itself, and not again for every path that leads
 * to a call (7.2 counts a million instructions otherwise). */

static __always_inline struct numtasks_state *numtasks_of(__u32 slot) {
  return bpf_map_lookup_elem(&numtasks, &slot);
}

/* Charges `slot` and all above it, up to before `stop`, whatever the limits; returns the task's word. */
__noinline __u32 numtasks_force(__u32 slot, __u32 stop) {
  struct numtasks_state *state = numtasks_of(slot);
  bool shared = state && *(volatile __u32 *)&state->flags & NUMTASKS_SHARES;
  if (shared) numtasks_share(slot, 1);
  struct numtasks_walk walk = {.slot = slot, .stop = stop};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_force_one, &walk, 0);
  return slot | (shared ? NUMTASKS_SHARED : 0);
}

/* Gives back what a task's word says is charged, up to before `stop`. */
__noinline int numtasks_give_back(__u32 word, __u32 stop) {
  __u32 slot = word & ~NUMTASKS_SHARED;
  struct numtasks_walk walk = {.slot = slot, .stop = stop};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_uncharge_one, &walk, 0);
  if (word & NUMTASKS_SHARED) numtasks_share(slot, -1);
  return 0;
}

static __noinline int numtasks_note_refusal(__u32 slot, __u32 refused, __u32 kind) {
  struct numtasks_state *own = numtasks_of(slot), *by = numtasks_of(refused);
  if (!own || !by) return 0;
  bool rate = kind == CTN_EVENT_FORK_RATE;
  __sync_fetch_and_add(rate ? &own->rate_failures : &own->failcnt, 1);
  __sync_fetch_and_add(rate ? &by->rate_events : &by->events, 1);
  return event_emit(kind, slot, refused);
}

/* Charges `slot` and all above, or says which container's limit refused, with nothing charged. */
static __always_inline __u32 numtasks_try(__u32 slot) {
  struct numtasks_walk walk = {.slot = slot};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_charge_one, &walk, 0);
  if (walk.refused) {
    struct numtasks_walk back = {.slot = slot, .stop = walk.refused};
    bpf_loop(CTN_MAX_DEPTH + 1, numtasks_revert_one, &back, 0);
  }
  return walk.refused;
}

/* A refused fork gives back its share, and all it was charged where a rate refused it. */
static __noinline int numtasks_refuse(__u32 word, __u32 refused, __u32 kind) {
  __u32 slot = word & ~NUMTASKS_SHARED;
  if (kind == CTN_EVENT_FORK_RATE) {
    struct numtasks_walk back = {.slot = slot};
    bpf_loop(CTN_MAX_DEPTH + 1, numtasks_revert_one, &back, 0);
  }
  if (word & NUMTASKS_SHARED) numtasks_share(slot, -1);
  numtasks_note_refusal(slot, refused, kind);
  return 0;
}

/* Charges a fork of a task in `slot`; returns the child's word, or 0 with nothing charged. The rate
 * comes last, so that a fork which a limit refuses does not use it up. */
__noinline __u32 numtasks_charge_fork(__u32 slot) {
  struct numtasks_state *state = numtasks_of(slot);
  if (!state) return 0;
  __u32 flags = *(volatile __u32 *)&state->flags, word = slot;
  if (flags & NUMTASKS_SHARES) {
    word |= NUMTASKS_SHARED;
    __u32 root = (core.bound[CTN_NUMTASKS] - 1) & (CTN_MAX_HIER - 1);
    if (numtasks_share(slot, 1)) return numtasks_refuse(word, root, CTN_EVENT_FORK_REFUSED);
  }
  __u32 refused = numtasks_try(slot);
  if (refused) return numtasks_refuse(word, refused, CTN_EVENT_FORK_REFUSED);
  if (flags & NUMTASKS_RATED) {
    refused = numtasks_over_rate(slot);
    if (refused) return numtasks_refuse(word, refused, CTN_EVENT_FORK_RATE);
  }
  __sync_fetch_and_add(&state->successes, 1);
  return word;
}

/* Fork, in the parent's context: charges the child, or says -EAGAIN with nothing charged. */
static __always_inline int numtasks_fork(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (slot < CTN_MAX_HIER) return 0;
  child->numtasks = numtasks_charge_fork(slot);
  return child->numtasks ? 0 : -EAGAIN;
}

/* A child that is there already: charged by force. */
static __always_inline void numtasks_adopt(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (slot >= CTN_MAX_HIER) child->numtasks = numtasks_force(slot, 0);
}

/* The task is reaped or freed, whichever is seen first; the exchange makes it once. */
static __always_inline void numtasks_release(struct ctn_task *task) {
  __u32 word = __sync_lock_test_and_set(&task->numtasks, 0);
  if (word) numtasks_give_back(word, 0);
}

struct numtasks_pair {
  __u32 a, b;
};

static long numtasks_nearer(__u32 i, void *arg) {
  struct numtasks_pair *pair = arg;
  __u32 a = pair->a, b = pair->b;
  struct ctn_node *one = node_of(a), *two = node_of(b);
  if (a == b || !one || !two) return 1;
  if (one->depth >= two->depth)
    pair->a = one->parent;
  else
    pair->b = two->parent;
  return 0;
}

/* The lowest container above both, or 0 if that is a root. */
__noinline __u32 numtasks_common(__u32 from, __u32 to) {
  struct numtasks_pair pair = {.a = from, .b = to};
  if (from < CTN_MAX_HIER || to < CTN_MAX_HIER) return 0;
  bpf_loop(2 * CTN_MAX_DEPTH + 2, numtasks_nearer, &pair, 0);
  return pair.a == pair.b && pair.a >= CTN_MAX_HIER ? pair.a : 0;
}

/* Moves the charge after the membership moved from `from` to `to` (slots of our hierarchy). The
 * task may be reaped meanwhile on another CPU: then the exchange there took `from` back, ours
 * fails, and the new charge is taken back here. A charge may also be entered in the words of shares
 * meanwhile, or taken out of them: once, so the second try succeeds. Who is above both is charged for
 * the task all the time, and once: a move below a limit never takes its `current` above it. */
static __always_inline void numtasks_attach(struct ctn_task *task, __u32 from, __u32 to) {
  __u32 charged = from >= CTN_MAX_HIER ? from : 0;
  __u32 common = numtasks_common(from, to);
  __u32 next = to >= CTN_MAX_HIER ? numtasks_force(to, common) : 0;
  for (int i = 0; i < 4; i++) {
    __u32 old = *(volatile __u32 *)&task->numtasks;
    if ((old & ~NUMTASKS_SHARED) != charged) break;
    if (__sync_val_compare_and_swap(&task->numtasks, old, next) != old) continue;
    if (old) numtasks_give_back(old, common);
    return;
  }
  if (next) numtasks_give_back(next, common);
}

#endif
