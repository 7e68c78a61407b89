/* Bean counters, kernel side: charging one resource of a container and of all above it.
 *
 * Included once for each resource, with BEANS defined to its name: this makes its map of that name
 * and the functions NAME_charge, NAME_force, NAME_uncharge and NAME_refused. So the whole kernel side
 * of a resource is where it is charged and given back.
 *
 * Check and charge are one compare-and-swap a level; a refused charge takes back what it charged
 * below. A barrier or limit may be exceeded by lowering it and by NAME_force, never otherwise.
 *
 * The first level is charged in line, only what is above it by bpf_loop: a container right below its
 * root, and every flat one, has no loop to pay for. */
#include "ctn.bpf.h"
#include "events.bpf.h"
#include "beancounter/beancounter.h"

#ifndef CTNBPF_SUBSYSTEMS_BEANCOUNTER_BPF_H
#define CTNBPF_SUBSYSTEMS_BEANCOUNTER_BPF_H

struct beans_walk {
  __u32 slot;     /* where the walk stands */
  __u32 stop;     /* slot to stop before; 0: only a root */
  __u32 refused;  /* slot whose barrier or limit refused, or 0 */
  __u32 severity; /* enum beans_severity */
};

static __always_inline __u64 beans_ceiling(const struct beans_state *state, __u32 severity) {
  if (severity == BEANS_FORCE) return CTN_UNLIMITED;
  return severity == BEANS_LIMIT ? *(volatile __u64 *)&state->limit
                                 : *(volatile __u64 *)&state->barrier;
}

/* One is given back: `maxheld` and `minheld` learn of it. */
static __always_inline void beans_give_back(struct beans_state *state) {
  counter_uncharge_peak(&state->held, &state->maxheld);
  __u64 now = *(volatile __u64 *)&state->held, low = *(volatile __u64 *)&state->minheld;
  for (int i = 0; i < CTN_CAS_TRIES && now < low; i++) {
    __u64 seen = __sync_val_compare_and_swap(&state->minheld, low, now);
    if (seen == low) break;
    low = seen;
  }
}

/* May the current task, which the barrier refused, go up to the limit? It must have CAP_SYS_ADMIN on
 * the machine: in a user namespace of their own everybody has it. */
static __always_inline bool beans_privileged(void) {
  const struct task_struct *task = bpf_get_current_task_btf();
  const struct cred *cred = BPF_CORE_READ(task, cred);
  __u32 low = 0; /* capabilities 0 to 31: two words of 32 bits until 6.2, one of 64 since */
  bpf_core_read(&low, sizeof(low), &cred->cap_effective);
  return low & (1U << CAP_SYS_ADMIN) && BPF_CORE_READ(cred, user_ns, level) == 0;
}

#endif

#define BEANS_JOIN(a, b) a##_##b
#define BEANS_NAME(a, b) BEANS_JOIN(a, b)
#define BEANS_FN(what) BEANS_NAME(BEANS, what)

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* one per slot, set at load */
  __type(key, __u32);
  __type(value, struct beans_state);
} BEANS SEC(".maps");

/* The record the walk stands at, or NULL at its end. */
static __always_inline struct beans_state *BEANS_FN(at)(const struct beans_walk *walk) {
  __u32 slot = walk->slot;
  return slot < CTN_MAX_HIER ? NULL : bpf_map_lookup_elem(&BEANS, &slot);
}

/* Each of these does one level; 1 ends the walk. */
static __always_inline long BEANS_FN(charge_level)(struct beans_walk *walk) {
  struct beans_state *state = BEANS_FN(at)(walk);
  if (!state) return 1;
  if (!counter_try_charge(&state->held, beans_ceiling(state, walk->severity))) {
    walk->refused = walk->slot;
    return 1;
  }
  walk->slot = state->parent;
  return 0;
}

static __always_inline long BEANS_FN(uncharge_level)(struct beans_walk *walk) {
  struct beans_state *state = BEANS_FN(at)(walk);
  if (!state) return 1;
  beans_give_back(state);
  walk->slot = state->parent;
  return 0;
}

static long BEANS_FN(charge_one)(__u32 i, void *walk) { return BEANS_FN(charge_level)(walk); }
static long BEANS_FN(uncharge_one)(__u32 i, void *walk) { return BEANS_FN(uncharge_level)(walk); }

/* Takes back what a refused walk charged; `maxheld` must not see those. */
static long BEANS_FN(revert_one)(__u32 i, void *arg) {
  struct beans_walk *walk = arg;
  if (walk->slot == walk->stop) return 1;
  struct beans_state *state = BEANS_FN(at)(walk);
  if (!state) return 1;
  __sync_fetch_and_add(&state->held, -1);
  walk->slot = state->parent;
  return 0;
}

/* Charges one to `slot`: 0, or the slot that refused, with nothing charged. */
static __always_inline __u32 BEANS_FN(try)(__u32 slot, __u32 mode, __u32 severity) {
  struct beans_walk walk = {.slot = slot, .severity = severity};
  bool done = BEANS_FN(charge_level)(&walk);
  if (!done && !(mode & BEANS_FLAT) && walk.slot >= CTN_MAX_HIER)
    bpf_loop(CTN_MAX_DEPTH, BEANS_FN(charge_one), &walk, 0);
  if (!walk.refused) return 0;
  struct beans_walk back = {.slot = slot, .stop = walk.refused};
  bpf_loop(CTN_MAX_DEPTH + 1, BEANS_FN(revert_one), &back, 0);
  return walk.refused;
}

/* Charges one to `slot` for the current task, as far as its privilege goes; `mode` is that of the
 * resource (core.modes) and has to be remembered with the charge. 0, or the slot that refused. */
static __always_inline __u32 BEANS_FN(charge)(__u32 slot, __u32 mode) {
  __u32 by = BEANS_FN(try)(slot, mode, BEANS_BARRIER);
  if (by && beans_privileged()) by = BEANS_FN(try)(slot, mode, BEANS_LIMIT);
  return by;
}

/* Charges what is there already, so that refusing is too late. */
static __always_inline void BEANS_FN(force)(__u32 slot, __u32 mode) {
  BEANS_FN(try)(slot, mode, BEANS_FORCE);
}

/* Gives one back, charged with the same mode. */
static __always_inline void BEANS_FN(uncharge)(__u32 slot, __u32 mode) {
  struct beans_walk walk = {.slot = slot};
  bool done = BEANS_FN(uncharge_level)(&walk);
  if (!done && !(mode & BEANS_FLAT) && walk.slot >= CTN_MAX_HIER)
    bpf_loop(CTN_MAX_DEPTH, BEANS_FN(uncharge_one), &walk, 0);
}

/* Counts and tells a refusal. */
static __always_inline void BEANS_FN(refused)(__u32 slot, __u32 by, __u32 event) {
  struct beans_state *state = bpf_map_lookup_elem(&BEANS, &slot);
  if (state) __sync_fetch_and_add(&state->failcnt, 1);
  state = bpf_map_lookup_elem(&BEANS, &by);
  if (state) __sync_fetch_and_add(&state->events, 1);
  event_emit(event, slot, by);
}

#undef BEANS_FN
#undef BEANS_NAME
#undef BEANS_JOIN
#undef BEANS
