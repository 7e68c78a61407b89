/* numtasks, kernel side: counts tasks up the tree and refuses a fork over a limit, over what is left
 * to borrow where shares are in force, or over a fork rate.
 *
 * A limit may be exceeded by attaching tasks and by lowering it, never by forking: check and charge
 * are one compare-and-swap at each level. Reading the record of another CPU's charge half-way up
 * its walk is harmless: it is marked as pending, is then granted or taken back, and in between a racing
 * fork may be refused that a moment later would have passed. */
#ifndef CTNBPF_SUBSYSTEMS_NUMTASKS_BPF_H
#define CTNBPF_SUBSYSTEMS_NUMTASKS_BPF_H

#include "ctn.bpf.h"
#include "events.bpf.h"
#include "numtasks/numtasks.h"

CTN_BY_SLOT(numtasks, struct numtasks_state);

#include "numtasks/numtasks_rate.bpf.h"
#include "numtasks/numtasks_shares.bpf.h"

/* --- charging --- */

static __always_inline struct numtasks_state *numtasks_of(__u32 slot) {
  return slot_at(numtasks, slot);
}

static __always_inline bool numtasks_add_one(struct climb *at) {
  struct numtasks_state *state = climb_record(at, numtasks);
  if (!state) return true;
  __sync_fetch_and_add(&state->current, at->what);
  at->slot = state->parent;
  return false;
}
CLIMB(numtasks_add_one)

static __always_inline bool numtasks_uncharge_one(struct climb *at) {
  struct numtasks_state *state = climb_record(at, numtasks);
  if (!state) return true;
  counter_uncharge_peak(&state->current, &state->peak);
  at->slot = state->parent;
  return false;
}
CLIMB(numtasks_uncharge_one)

static __always_inline bool numtasks_try_one(struct numtasks_state *state, __u64 one) {
  return counter_try_charge(&state->current, *(volatile __u64 *)&state->bound, one);
}

static __always_inline bool numtasks_hold_one(struct climb *at) {
  struct numtasks_state *state = climb_record(at, numtasks);
  if (!state || !numtasks_try_one(state, CTN_ONE_CHARGE + CTN_ONE_PENDING)) return true;
  at->slot = state->parent;
  return false;
}
CLIMB(numtasks_hold_one)

/* Ends where there is no room for one more. */
static __always_inline bool numtasks_full_one(struct climb *at) {
  struct numtasks_state *state = climb_record(at, numtasks);
  if (!state) return true;
  __u64 current = *(volatile __u64 *)&state->current;
  if (CTN_CHARGED(current) >= *(volatile __u64 *)&state->bound) return true;
  at->slot = state->parent;
  return false;
}
CLIMB(numtasks_full_one)

/* Ends at a limit of at most `what`. */
static __always_inline bool numtasks_bounded_one(struct climb *at) {
  struct numtasks_state *state = climb_record(at, numtasks);
  if (!state || *(volatile __u64 *)&state->bound <= at->what) return true;
  at->slot = state->parent;
  return false;
}
CLIMB(numtasks_bounded_one)

/* Adds to `slot` and all above it, up to before `stop`. */
__noinline int numtasks_add(__u32 slot, __u32 stop, __u64 what) {
  struct climb up = {.slot = slot, .stop = stop, .what = what};
  numtasks_add_one_up(&up);
  return 0;
}

/* Charges them whatever the limits; `one` as for counter_try_charge(). Returns the task's word and, in the high
 * half, what is left to enter in the share of `stop`. */
__noinline __u64 numtasks_force(__u32 slot, __u32 stop, __u64 one) {
  struct numtasks_state *state = numtasks_of(slot);
  bool shared = state && *(volatile __u32 *)&state->flags & NUMTASKS_SHARES;
  __u64 rest = shared ? numtasks_share(slot, 1, stop) : 0;
  numtasks_add(slot, stop, one);
  return slot | (shared ? NUMTASKS_SHARED : 0) | rest << 32;
}

/* Takes one off them. */
static __always_inline void numtasks_uncharge(__u32 slot, __u32 stop) {
  struct climb up = {.slot = slot, .stop = stop};
  numtasks_uncharge_one_up(&up);
}

/* Gives back what a task's word says is charged. */
__noinline int numtasks_give_back(__u32 word) {
  __u32 slot = word & ~NUMTASKS_SHARED;
  numtasks_uncharge(slot, CLIMB_ALL);
  return word & NUMTASKS_SHARED ? numtasks_share(slot, -1, CLIMB_ALL) : 0;
}

/* The same up to before `stop`; what is left to enter there. */
__noinline int numtasks_give_back_below(__u32 word, __u32 stop) {
  __u32 slot = word & ~NUMTASKS_SHARED;
  numtasks_uncharge(slot, stop);
  return word & NUMTASKS_SHARED ? numtasks_share(slot, -1, stop) : 0;
}

/* Counts a refusal and tells of it. Returns 0: the word of a child that is not charged. */
static __noinline __u32 numtasks_refuse(__u32 slot, __u32 refused, __u32 kind) {
  struct numtasks_state *own = numtasks_of(slot), *by = numtasks_of(refused);
  if (!own || !by) return 0;
  bool rate = kind == CTN_EVENT_FORK_RATE;
  __sync_fetch_and_add(rate ? &own->rate_failures : &own->failcnt, 1);
  __sync_fetch_and_add(rate ? &by->rate_events : &by->events, 1);
  event_refused(kind, slot, refused);
  return 0;
}

/* Takes back pending charges, up to before `stop`; `peak` has not seen those. */
static __always_inline void numtasks_revert(__u32 slot, __u32 stop) {
  numtasks_add(slot, stop, -(CTN_ONE_CHARGE + CTN_ONE_PENDING));
}

/* Pending charges are granted, up to before `stop`. */
static __always_inline void numtasks_grant(__u32 slot, __u32 stop) {
  numtasks_add(slot, stop, -CTN_ONE_PENDING);
}

/* Charges `slot` and all above it, pending: 0, or the container whose limit refused, with nothing charged. */
__noinline __u32 numtasks_hold(__u32 slot) {
  struct climb up = {.slot = slot, .stop = CLIMB_ALL};
  numtasks_hold_one_up(&up);
  __u32 refused = climb_ended_at(&up);
  if (refused) numtasks_revert(slot, refused);
  return refused;
}

/* Charges a container, whose record is `state`, and all above it: 0, or whose limit refused. Where nobody
 * above can refuse, one step grants it, in line. */
static __always_inline __u32 numtasks_try(__u32 slot, struct numtasks_state *state) {
  if (state->parent < CTN_MAX_HIER) return numtasks_try_one(state, CTN_ONE_CHARGE) ? 0 : slot;
  __u32 refused = numtasks_hold(slot);
  if (!refused) numtasks_grant(slot, CLIMB_ALL);
  return refused;
}

/* Whose limit has no room for one more, or 0. Writes nothing. */
__noinline __u32 numtasks_full(__u32 slot) {
  struct climb up = {.slot = slot, .stop = CLIMB_ALL};
  numtasks_full_one_up(&up);
  return climb_ended_at(&up);
}

/* Does a limit of at most `most` apply to tasks of `slot`, or has it a guarantee that is not used up? */
__noinline int numtasks_is_bounded(__u32 slot, __u64 most) {
  struct numtasks_state *state = container_at(numtasks, slot);
  if (!state) return false;
  if (*(volatile __u32 *)&state->flags & NUMTASKS_SHARES &&
      share_has_room(*(volatile __u64 *)&state->share))
    return true;
  struct climb up = {.slot = slot, .stop = CLIMB_ALL, .what = most};
  numtasks_bounded_one_up(&up);
  return climb_ended_at(&up) != 0;
}

/* Where shares or rates are in force. Limits and rates are looked at before anything is charged, so that
 * those who are refused again and again do not take room from others while they are; the rate is
 * counted last, so that it is not used up by forks that a limit refuses. The child's word, or 0 with
 * nothing charged. */
__noinline __u32 numtasks_charge_bound(__u32 slot, __u32 flags) {
  __u32 word = slot, refused = 0;
  __u64 now = 0;
  if (flags & NUMTASKS_RATED) {
    now = bpf_ktime_get_ns();
    refused = numtasks_rate_full(slot, now);
    if (refused) return numtasks_refuse(slot, refused, CTN_EVENT_FORK_RATE);
  }
  if (flags & NUMTASKS_SHARES) {
    refused = numtasks_full(slot);
    if (refused) return numtasks_refuse(slot, refused, CTN_EVENT_FORK_REFUSED);
    __u32 root = (core.bound[CTN_NUMTASKS] - 1) & (CTN_MAX_HIER - 1);
    if (!numtasks_borrow(slot)) return numtasks_refuse(slot, root, CTN_EVENT_FORK_REFUSED);
    word |= NUMTASKS_SHARED;
  }
  __u32 kind = CTN_EVENT_FORK_REFUSED;
  refused = numtasks_hold(slot);
  if (!refused && flags & NUMTASKS_RATED) {
    kind = CTN_EVENT_FORK_RATE;
    refused = numtasks_rate_charge(slot, now);
    if (refused) numtasks_revert(slot, CLIMB_ALL);
  }
  if (!refused) {
    numtasks_grant(slot, CLIMB_ALL);
    return word;
  }
  if (word & NUMTASKS_SHARED) numtasks_share(slot, -1, CLIMB_ALL);
  return numtasks_refuse(slot, refused, kind);
}

/* Fork, in the parent's context: charges the child, or says -EAGAIN with nothing charged. */
static __always_inline int numtasks_fork(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS), word = slot;
  struct numtasks_state *state = container_at(numtasks, slot);
  if (!state) return 0;
  __u32 flags = *(volatile __u32 *)&state->flags;
  if (flags & (NUMTASKS_SHARES | NUMTASKS_RATED)) {
    word = numtasks_charge_bound(slot, flags);
  } else {
    __u32 refused = numtasks_try(slot, state);
    if (refused) word = numtasks_refuse(slot, refused, CTN_EVENT_FORK_REFUSED);
  }
  if (!word) return -EAGAIN;
  __sync_fetch_and_add(&state->successes, 1);
  child->counted = word;
  return 0;
}

/* A child that is there already: charged by force. */
static __always_inline void numtasks_adopt(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (slot >= CTN_MAX_HIER) child->counted = (__u32)numtasks_force(slot, CLIMB_ALL, CTN_ONE_CHARGE);
}

/* The task is reaped or freed, whichever is seen first; the exchange makes it once. */
static __always_inline void numtasks_release(struct ctn_task *task) {
  __u32 word = __sync_lock_test_and_set(&task->counted, 0);
  if (word) numtasks_give_back(word);
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

/* The lowest container above both, a root too; none if one of them is a root, which charges nobody. */
__noinline __u32 numtasks_common(__u32 from, __u32 to) {
  struct numtasks_pair pair = {.a = from, .b = to};
  if (from < CTN_MAX_HIER || to < CTN_MAX_HIER) return CLIMB_ALL;
  bpf_loop(2 * CTN_MAX_DEPTH + 2, numtasks_nearer, &pair, 0);
  return pair.a;
}

/* Moves the charge after the membership moved from `from` to `to` (slots of our hierarchy). The
 * task may be reaped meanwhile on another CPU: then the exchange there took `from` back, ours
 * fails, and the new charge, pending until then, is taken back here. A charge may also be entered in the
 * words of shares meanwhile, or taken out of them: once, so the second try succeeds. Who is above both is
 * charged for the task all the time, and once: a move below a limit or a pool never takes its use above it. */
static __always_inline void numtasks_attach(struct ctn_task *task, __u32 from, __u32 to) {
  __u32 charged = from >= CTN_MAX_HIER ? from : 0;
  __u32 common = numtasks_common(from, to);
  __u64 made = 0;
  if (to >= CTN_MAX_HIER) made = numtasks_force(to, common, CTN_ONE_CHARGE + CTN_ONE_PENDING);
  __u32 next = made, back = 0; /* what is given back: the charge that was replaced */
  bool moved = false;
  for (int i = 0; i < 4; i++) {
    __u32 old = *(volatile __u32 *)&task->counted;
    if ((old & ~NUMTASKS_SHARED) != charged) break;
    if (__sync_val_compare_and_swap(&task->counted, old, next) != old) continue;
    back = old;
    moved = true;
    break;
  }
  int rest = (int)(made >> 32);
  if (next && moved) numtasks_grant(to, common);
  if (next && !moved) {
    numtasks_revert(to, common);
    if (next & NUMTASKS_SHARED) rest += numtasks_share(to, -1, common);
  }
  if (back) rest += numtasks_give_back_below(back, common);
  if (rest) numtasks_share(common, rest, CLIMB_ALL);
}

#endif
