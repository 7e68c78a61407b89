/* numtasks, kernel side: counts tasks up the tree and refuses a fork over a limit.
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

struct numtasks_walk {
  __u32 slot;    /* where the walk stands */
  __u32 stop;    /* slot to stop before; 0: only a root */
  __u32 refused; /* slot whose limit refused, or 0 */
};

static long numtasks_charge_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  if (!counter_try_charge(&state->current, *(volatile __u64 *)&state->limit)) {
    walk->refused = slot;
    return 1;
  }
  walk->slot = state->parent;
  return 0;
}

static long numtasks_force_one(__u32 i, void *arg) {
  struct numtasks_walk *walk = arg;
  __u32 slot = walk->slot;
  if (slot < CTN_MAX_HIER) return 1;
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
  if (slot < CTN_MAX_HIER) return 1;
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (!state) return 1;
  counter_uncharge_peak(&state->current, &state->peak);
  walk->slot = state->parent;
  return 0;
}

static __always_inline void numtasks_force(__u32 slot) {
  struct numtasks_walk walk = {.slot = slot};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_force_one, &walk, 0);
}

static __always_inline void numtasks_uncharge(__u32 slot) {
  struct numtasks_walk walk = {.slot = slot};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_uncharge_one, &walk, 0);
}

static __always_inline void numtasks_note_refusal(__u32 slot, __u32 refused) {
  struct numtasks_state *state = bpf_map_lookup_elem(&numtasks, &slot);
  if (state) __sync_fetch_and_add(&state->failcnt, 1);
  state = bpf_map_lookup_elem(&numtasks, &refused);
  if (state) __sync_fetch_and_add(&state->events, 1);
  event_emit(CTN_EVENT_FORK_REFUSED, slot, refused);
}

/* Fork, in the parent's context: charges the child, or says -EAGAIN with nothing charged. */
static __always_inline int numtasks_fork(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (slot < CTN_MAX_HIER) return 0;
  struct numtasks_walk walk = {.slot = slot};
  bpf_loop(CTN_MAX_DEPTH + 1, numtasks_charge_one, &walk, 0);
  if (walk.refused) {
    struct numtasks_walk back = {.slot = slot, .stop = walk.refused};
    bpf_loop(CTN_MAX_DEPTH + 1, numtasks_revert_one, &back, 0);
    numtasks_note_refusal(slot, walk.refused);
    return -EAGAIN;
  }
  child->numtasks = slot;
  return 0;
}

/* A child that is there already: charged by force. */
static __always_inline void numtasks_adopt(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_NUMTASKS);
  if (slot < CTN_MAX_HIER) return;
  numtasks_force(slot);
  child->numtasks = slot;
}

/* The task is reaped or freed, whichever is seen first; the exchange makes it once. */
static __always_inline void numtasks_release(struct ctn_task *task) {
  __u32 slot = __sync_lock_test_and_set(&task->numtasks, 0);
  if (slot >= CTN_MAX_HIER) numtasks_uncharge(slot);
}

/* Moves the charge after the membership moved from `from` to `to` (slots of our hierarchy). The
 * task may be reaped meanwhile on another CPU: then the exchange there took `from` back, ours
 * fails, and the new charge is taken back here. */
static __always_inline void numtasks_attach(struct ctn_task *task, __u32 from, __u32 to) {
  __u32 charged = from >= CTN_MAX_HIER ? from : 0;
  __u32 next = to >= CTN_MAX_HIER ? to : 0;
  if (next) numtasks_force(next);
  if (__sync_val_compare_and_swap(&task->numtasks, charged, next) == charged) {
    if (charged) numtasks_uncharge(charged);
  } else if (next) {
    numtasks_uncharge(next);
  }
}

#endif
