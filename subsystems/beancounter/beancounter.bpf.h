/* Bean counters, kernel side: charging one resource of a container and of all above it.
 *
 * Included once for each resource, with BEANS defined to its name: this makes its map of that name
 * and the functions NAME_charge, NAME_force, NAME_uncharge and NAME_refused. So the whole kernel side
 * of a resource is where it is charged and given back.
 *
 * Check and charge are one compare-and-swap a level; what one level has let in is pending until all above it
 * have, and is taken back if one refuses. A barrier or limit may be exceeded by lowering it and by NAME_force, never otherwise.
 *
 * Where nobody above can refuse, one step grants a charge, in line: a container right below its root, and
 * every flat one, has no call to pay for. */
#include "ctn.bpf.h"
#include "events.bpf.h"
#include "beancounter/beancounter.h"

#ifndef CTNBPF_SUBSYSTEMS_BEANCOUNTER_BPF_H
#define CTNBPF_SUBSYSTEMS_BEANCOUNTER_BPF_H

static __always_inline __u64 beans_ceiling(const struct beans_state *state, __u32 severity) {
  if (severity == BEANS_FORCE) return CTN_UNLIMITED;
  return severity == BEANS_LIMIT ? *(volatile __u64 *)&state->limit
                                 : *(volatile __u64 *)&state->barrier;
}

/* One is given back: `maxheld` and `minheld` learn of it. */
static __always_inline void beans_give_back(struct beans_state *state) {
  __u64 left = counter_uncharge_peak(&state->held, &state->maxheld) - 1;
  if (left < *(volatile __u64 *)&state->minheld) counter_lower(&state->minheld, left);
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

CTN_BY_SLOT(BEANS, struct beans_state);

static __always_inline bool BEANS_FN(hold_one)(struct climb *at) {
  struct beans_state *state = climb_record(at, BEANS);
  if (!state) return true;
  if (!counter_try_charge(&state->held, beans_ceiling(state, at->what),
                          CTN_ONE_CHARGE + CTN_ONE_PENDING))
    return true;
  at->slot = state->parent;
  return false;
}
CLIMB(BEANS_FN(hold_one))

static __always_inline bool BEANS_FN(add_one)(struct climb *at) {
  struct beans_state *state = climb_record(at, BEANS);
  if (!state) return true;
  __sync_fetch_and_add(&state->held, at->what);
  at->slot = state->parent;
  return false;
}
CLIMB(BEANS_FN(add_one))

static __always_inline bool BEANS_FN(uncharge_one)(struct climb *at) {
  struct beans_state *state = climb_record(at, BEANS);
  if (!state) return true;
  beans_give_back(state);
  at->slot = state->parent;
  return false;
}
CLIMB(BEANS_FN(uncharge_one))

/* Charges `slot` and all above it: 0, or the slot that refused, with nothing charged. Pending charges that are
 * taken back are none that `maxheld` has seen. Global functions, here and below: the verifier follows each
 * once. */
__noinline __u32 BEANS_FN(charge_all)(__u32 slot, __u32 severity) {
  struct climb hold = {.slot = slot, .stop = CLIMB_ALL, .what = severity};
  BEANS_FN(hold_one_up)(&hold);
  __u32 refused = climb_ended_at(&hold);
  struct climb grant = {
      .slot = slot, .stop = refused, .what = -(CTN_ONE_PENDING + (refused ? CTN_ONE_CHARGE : 0))};
  BEANS_FN(add_one_up)(&grant);
  return refused;
}

__noinline int BEANS_FN(uncharge_all)(__u32 slot) {
  struct climb up = {.slot = slot, .stop = CLIMB_ALL};
  BEANS_FN(uncharge_one_up)(&up);
  return 0;
}

/* Charges one to `slot`, whose record is `state`: 0, or the slot that refused, with nothing charged. */
static __always_inline __u32 BEANS_FN(try)(struct beans_state *state, __u32 slot, __u32 mode,
                                           __u32 severity) {
  if (state->parent >= CTN_MAX_HIER && !(mode & BEANS_FLAT))
    return BEANS_FN(charge_all)(slot, severity);
  return counter_try_charge(&state->held, beans_ceiling(state, severity), CTN_ONE_CHARGE) ? 0
                                                                                          : slot;
}

/* Charges one to `slot`, whose record is `state`, for the current task, as far as its privilege goes; `mode`
 * is that of the resource (core.modes) and has to be remembered with the charge. 0, or the slot that
 * refused. */
static __always_inline __u32 BEANS_FN(charge_record)(struct beans_state *state, __u32 slot,
                                                     __u32 mode) {
  __u32 by = BEANS_FN(try)(state, slot, mode, BEANS_BARRIER);
  if (by && beans_privileged()) by = BEANS_FN(try)(state, slot, mode, BEANS_LIMIT);
  return by;
}

static __always_inline __u32 BEANS_FN(charge)(__u32 slot, __u32 mode) {
  struct beans_state *state = container_at(BEANS, slot);
  return state ? BEANS_FN(charge_record)(state, slot, mode) : 0;
}

/* Charges what is there already, so that refusing is too late. */
static __always_inline void BEANS_FN(force)(__u32 slot, __u32 mode) {
  struct beans_state *state = container_at(BEANS, slot);
  if (state) BEANS_FN(try)(state, slot, mode, BEANS_FORCE);
}

/* Gives one back, charged with the same mode to the container whose record is `state`. */
static __always_inline void BEANS_FN(uncharge_record)(struct beans_state *state, __u32 mode) {
  beans_give_back(state);
  __u32 parent = state->parent;
  if (parent >= CTN_MAX_HIER && !(mode & BEANS_FLAT)) BEANS_FN(uncharge_all)(parent);
}

static __always_inline void BEANS_FN(uncharge)(__u32 slot, __u32 mode) {
  struct beans_state *state = container_at(BEANS, slot);
  if (state) BEANS_FN(uncharge_record)(state, mode);
}

/* Counts and tells a refusal. */
static __always_inline void BEANS_FN(refused)(__u32 slot, __u32 by, __u32 event) {
  struct beans_state *state = slot_at(BEANS, slot);
  if (state) __sync_fetch_and_add(&state->failcnt, 1);
  state = slot_at(BEANS, by);
  if (state) __sync_fetch_and_add(&state->events, 1);
  event_refused(event, slot, by);
}

#undef BEANS_FN
#undef BEANS_NAME
#undef BEANS_JOIN
#undef BEANS
