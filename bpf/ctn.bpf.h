/* Prelude of every BPF source: the core's maps, and the look-ups and counters all hooks share. */
#ifndef CTNBPF_BPF_CTN_BPF_H
#define CTNBPF_BPF_CTN_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ctnbpf/abi.h"
#include "section.bpf.h"

#define EPERM 1
#define EAGAIN 11
#define ENFILE 23
#define EINVAL 22

/* Settings and bindings. In a section of its own: addressed directly, without a look-up, and the
 * control plane maps it as one struct. */
struct ctn_core core SEC(".data.core");

/* One record for each slot. */
#define CTN_BY_SLOT(name, type) CTN_SECTION(name, type)

/* How many slots there are, and how many of those are not for roots. Set at load. */
const volatile __u32 slot_count = 1;
const volatile __u32 container_count = 1;

/* How many CPUs there can be. Set at load. */
const volatile __u32 cpu_count = 1;

/* The record of a slot, a root's too; NULL: there is no such slot. */
#define slot_at(array, slot)                              \
  ({                                                      \
    __u64 index = (__u32)(slot);                          \
    index < slot_count ? section_at(array, index) : NULL; \
  })

/* The number of a container's slot among those that are not for roots; it is below `container_count` if
 * the slot is not a root's and there is such a slot: one comparison answers both. */
static __always_inline __u64 container_index(__u32 slot) {
  __u64 index = slot - CTN_MAX_HIER;
  asm("" : "+r"(index));
  return index;
}

/* The record of a container's slot, or NULL if it is a root's. */
#define container_at(array, slot)                                     \
  ({                                                                  \
    __u64 below = container_index(slot);                              \
    below < container_count ? indexed_container(array, below) : NULL; \
  })

/* The same of a container_index() that was found to be below `container_count`. */
#define indexed_container(array, index) section_at((array) + CTN_MAX_HIER, index)

/* The containers. */
CTN_BY_SLOT(nodes, struct ctn_node);

/* Names and dates, by slot. No program reads it; it is here so that one object has all maps. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ctn_info);
} infos SEC(".maps");

/* Tombstones; likewise no program's. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, CTN_TOMBS);
  __type(key, __u32);
  __type(value, struct ctn_tomb);
} tombs SEC(".maps");

/* Heads of the name index: slot, or 0. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} name_index SEC(".maps");

static __always_inline struct ctn_node *node_of(__u32 slot) { return slot_at(nodes, slot); }

static __always_inline void count_miss(enum ctn_miss what) {
  __sync_fetch_and_add(&core.misses[what], 1);
}

/* --- counters -------------------------------------------------------------------------------- */

#define CTN_CAS_TRIES 16
#define CTN_CHARGE_TRIES 256

/* The rest of counter_try_charge(): after a lost race, at the limit, or where charges are pending. Global,
 * as counter_raise(): the verifier follows it once and not for each level of a walk. */
__noinline int counter_charge_contended(__u64 *held, __u64 limit, __u64 one) {
  if (!held) return false;
  __u64 old = *(volatile __u64 *)held;
  for (int i = 0; i < CTN_CHARGE_TRIES; i++) {
    if (CTN_CHARGED(old) >= limit) return false;
    __u64 seen = __sync_val_compare_and_swap(held, old, old + one);
    if (seen == old) return true;
    old = seen;
  }
  return false;
}

/* Adds `one` (CTN_ONE_CHARGE, and CTN_ONE_PENDING if it is not granted by that alone) to *held if that keeps
 * it within limit; one step, so *held is never seen above it. Pending charges make the word a large number:
 * it is then looked at out of line, so that who meets none pays for none.
 * Who loses CTN_CHARGE_TRIES races, each to another CPU that changed *held, is refused: to add first and
 * look then would show a number above the limit for an instant, and a peak could keep it. */
static __always_inline bool counter_try_charge(__u64 *held, __u64 limit, __u64 one) {
  __u64 old = *(volatile __u64 *)held;
  if (old >= limit) return counter_charge_contended(held, limit, one);
  __u64 seen = __sync_val_compare_and_swap(held, old, old + one);
  asm volatile(
      ""
      : "+r"(seen)); /* or clang makes a word of the comparison first, then looks at that */
  return seen == old || counter_charge_contended(held, limit, one);
}

/* To what was granted of a counter's word. Losing CTN_CAS_TRIES races to other raisers can only happen while
 * they raise it too. */
__noinline int counter_raise(__u64 *peak, __u64 was) {
  if (!peak) return 0;
  was = CTN_GRANTED(was);
  __u64 high = *(volatile __u64 *)peak;
  for (int i = 0; i < CTN_CAS_TRIES && high < was; i++) {
    __u64 seen = __sync_val_compare_and_swap(peak, high, was);
    if (seen == high) break;
    high = seen;
  }
  return 0;
}

__noinline int counter_lower(__u64 *least, __u64 now) {
  if (!least) return 0;
  __u64 low = *(volatile __u64 *)least;
  for (int i = 0; i < CTN_CAS_TRIES && now < low; i++) {
    __u64 seen = __sync_val_compare_and_swap(least, low, now);
    if (seen == low) break;
    low = seen;
  }
  return 0;
}

/* Takes one off *held and raises *peak to what was granted of it; returns the word as it was. A maximum of
 * *held is followed by a decrement or is its value now, so recording it here costs the charging side nothing.
 * Charges that are pending at that moment do not count: one that is refused leaves no trace, and one that is
 * granted later came after what was given back here. */
static __always_inline __u64 counter_uncharge_peak(__u64 *held, __u64 *peak) {
  __u64 was = __sync_fetch_and_add(held, -1);
  if (*(volatile __u64 *)peak < was) counter_raise(peak, was);
  return was;
}

/* --- sharing out the tables (struct ctn_lending) --------------------------------------------- */

/* `own` of each is a constant set at load, so that containers below it pay for a comparison with one: see
 * CTN_TABLE. That of files is here, as references are counted by it whatever they are. */
const volatile __u32 task_own = ~0U;
const volatile __u32 file_own = ~0U;

/* A container has one more, or one less, than is its own. Seldom, so out of line. */
static __noinline int lending_count(__u32 what, int delta) {
  __sync_fetch_and_add(&core.lending[what & (CTN_LEND_NR - 1)].lent, (__u64)(long)delta);
  return 0;
}

/* Is more lent than may be, by who just took one? Others that take one at the same time and give it back may
 * make it look so: then somebody is refused a moment before the last one is lent. */
static __always_inline bool lending_is_over(__u32 what) {
  return *(volatile __u64 *)&core.lending[what].lent > core.lending[what].most;
}

/* A walk from a container up to below the root. */
struct climb {
  __u32 slot; /* where it stands; 0 or a root's when it has come to the end */
  __u32 stop; /* the slot to stop before, or CLIMB_ALL */
  __u64 what; /* the step's own */
};

#define CLIMB_ALL (~0U) /* nobody's slot */

/* The record of where `at` stands in an array of the subsystem's, or NULL at the end of the walk. */
#define climb_record(at, array) ((at)->slot == (at)->stop ? NULL : container_at(array, (at)->slot))

/* Where it ended: the container whose step said so, or 0 at the end of the way. */
static __always_inline __u32 climb_ended_at(const struct climb *at) {
  return at->slot >= CTN_MAX_HIER ? at->slot : 0;
}

/* Defines NAME_up(struct climb *), a walk of steps NAME: a step moves on to the parent's slot, or returns true
 * where the walk ends. Eight levels in line, as few trees are deeper; what is above by bpf_loop(), which costs a
 * call for eight levels and lets the verifier follow the step a few times: a plain loop it follows once for
 * each level that a tree may have, in each program. */
#define CLIMB_TURN 8
#define CLIMB(name) CLIMB_(name)
#define CLIMB_(name)                                                                           \
  static __always_inline bool name##_turn(struct climb *at) {                                  \
    return name(at) || name(at) || name(at) || name(at) || name(at) || name(at) || name(at) || \
           name(at);                                                                           \
  }                                                                                            \
  static long name##_on(__u32 turn, struct climb *at) { return name##_turn(at); }              \
  static __always_inline void name##_up(struct climb *at) {                                    \
    if (!name##_turn(at) && at->slot >= CTN_MAX_HIER)                                          \
      bpf_loop(CTN_MAX_DEPTH / CLIMB_TURN, name##_on, at, 0);                                  \
  }

#include "tasks.bpf.h"

#endif
