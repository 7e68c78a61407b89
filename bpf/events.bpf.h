/* Events: what programs tell user space, and the moment a container becomes empty.
 *
 * The log is an array that is written round and round, so reading it takes nothing from other
 * readers; each reader keeps its own position and sees by the numbers what it missed. Whoever waits
 * is woken by the bell, a ring buffer that nobody has to read: see src/tree/events.cpp. Events are rare
 * (a refusal, a container that becomes empty), so neither costs the usual fork or exit anything. */
#ifndef CTNBPF_BPF_EVENTS_BPF_H
#define CTNBPF_BPF_EVENTS_BPF_H

#include "ctn.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, CTN_EVENT_LOG);
  __type(key, __u32);
  __type(value, struct ctn_event);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} bell SEC(".maps");

/* Its number in the log, + 1. `by`: the container whose limit refused; else the same slot. The task is the
 * current one. A writer that is overtaken by CTN_EVENT_LOG others while it writes leaves a record with a number
 * that readers do not expect, and they count it as lost. Not static, as node_emptied: the verifier
 * follows a global function once, not for each path that leads to a call. */
__noinline __u64 event_emit(__u32 kind, __u32 slot, __u32 by) {
  struct ctn_node *node = node_of(slot), *by_node = node_of(by);
  if (!node || !by_node) return 0;
  __u64 number = __sync_fetch_and_add(&core.event_head, 1);
  __u32 at = number & (CTN_EVENT_LOG - 1);
  struct ctn_event *event = bpf_map_lookup_elem(&events, &at);
  if (!event) return 0;                        /* for the verifier */
  __sync_lock_test_and_set(&event->number, 0); /* a barrier: readers see this before the rest */
  __u64 id = bpf_get_current_pid_tgid();
  event->time_ns = bpf_ktime_get_boot_ns();
  event->kind = kind;
  event->slot = slot;
  event->generation = node->generation;
  event->by_slot = by;
  event->by_generation = by_node->generation;
  event->pid = id >> 32;
  event->tid = (__u32)id;
  event->uid = (__u32)bpf_get_current_uid_gid();
  bpf_get_current_comm(event->comm, sizeof(event->comm));
  event->count = 1;
  event->last_ns = event->time_ns;
  __sync_lock_test_and_set(&event->number, number + 1);
  /* When it is full, nobody waits. */
  bpf_ringbuf_output(&bell, &number, sizeof(number), BPF_RB_FORCE_WAKEUP);
  return number + 1;
}

/* --- refusals -------------------------------------------------------------------------------- */

/* A task at its limit can be refused a million times a second. So equal refusals are one record of the log a
 * second (struct ctn_event), and the bell rings once for it: the log keeps what happened elsewhere, and whoever
 * waits for other events sleeps. Which record is open is noted in sets of a few ways, by hash. No locks:
 *  - Who moves `until` on makes the record. Those that come before it is there count in `early`; both they and
 *    the maker look for the other after that, and who takes `early` by an exchange adds it to the record.
 *  - Two that find no way for a key may each take one: then there are two records for one second.
 *  - Who was held up between reading `number` and adding may add to a record whose second is over, which a
 *    reader that has read it to its end does not see; or, if the whole log went by meanwhile, to a record
 *    that is another event's by then, which is shown with a count one too high.
 *  - A set whose ways are all open for others, more containers than that being refused in one second,
 *    leaves refusals untold: they are counted in core.refusals_untold and readers count them as lost. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CTN_REFUSALS_SETS);
  __type(key, __u32);
  __type(value, struct ctn_refusals_set);
} refusals SEC(".maps");

/* Slots are below 2^22 and a few kinds are all there are; the generation tells a slot that was used again. Never
 * 0, as kinds are not. */
static __always_inline __u64 refusals_key(__u32 kind, __u32 slot, __u32 by, __u32 generation) {
  return (__u64)kind | (__u64)slot << 3 | (__u64)by << 26 | (__u64)generation << 49;
}

/* Adds to the record `number`, if it is in the log still. */
static __always_inline bool event_add(__u64 number, __u64 how_many, __u64 now) {
  __u32 at = (number - 1) & (CTN_EVENT_LOG - 1);
  struct ctn_event *event = bpf_map_lookup_elem(&events, &at);
  if (!event || *(volatile __u64 *)&event->number != number) return false;
  __sync_fetch_and_add(&event->count, how_many);
  *(volatile __u64 *)&event->last_ns = now; /* a little older than another's, at worst */
  return true;
}

/* Adds what came early to the record, now that there is one. */
static __always_inline void refusals_settle(struct ctn_refusals *open, __u64 number, __u64 now) {
  if (!*(volatile __u64 *)&open->early) return;
  __u64 early = __sync_lock_test_and_set(&open->early, 0);
  if (early && !(number && event_add(number, early, now)))
    __sync_fetch_and_add(&core.refusals_untold, early);
}

/* The way of `set` that is `key`'s; NULL: none. */
static __always_inline struct ctn_refusals *refusals_find(struct ctn_refusals_set *set, __u64 key) {
  for (int i = 0; i < CTN_REFUSALS_WAYS; i++)
    if (*(volatile __u64 *)&set->way[i].key == key) return &set->way[i];
  return NULL;
}

/* Is it over, and is this who opens it anew? */
static __always_inline bool refusals_open(struct ctn_refusals *way, __u64 now) {
  __u64 until = *(volatile __u64 *)&way->until;
  if (now < until) return false;
  __u64 seen = __sync_val_compare_and_swap(&way->until, until, now + CTN_REFUSALS_NS);
  asm volatile("" : "+r"(seen)); /* see counter_try_charge() */
  if (seen != until) return false;
  __sync_lock_test_and_set(&way->number,
                           0); /* of the record before, or of another key's: before the key */
  return true;
}

/* A way for a new key; NULL: all are open. */
static __always_inline struct ctn_refusals *refusals_claim(struct ctn_refusals_set *set, __u64 key,
                                                           __u64 now) {
  for (int i = 0; i < CTN_REFUSALS_WAYS; i++) {
    struct ctn_refusals *way = &set->way[i];
    if (!refusals_open(way, now)) continue;
    refusals_settle(way, 0, now);
    __sync_lock_test_and_set(&way->key, key);
    return way;
  }
  return NULL;
}

/* Counts one in what another has opened. False: it was taken for another key meanwhile. */
static __always_inline bool refusals_join(struct ctn_refusals *way, __u64 key, __u64 now) {
  __u64 number = *(volatile __u64 *)&way->number;
  if (*(volatile __u64 *)((void *)&way->key + zero_after(number)) != key)
    return false; /* looked at after the number, which came before it */
  if (number && event_add(number, 1, now)) return true;
  __sync_fetch_and_add(&way->early, 1);
  number = __sync_fetch_and_add(&way->number, 0);
  if (number) refusals_settle(way, number, now);
  return true;
}

/* Tells of a refusal: `by` refused a task of `slot`, the current one. */
__noinline int event_refused(__u32 kind, __u32 slot, __u32 by) {
  struct ctn_node *node = node_of(slot);
  if (!node) return 0;
  __u64 key = refusals_key(kind, slot, by, node->generation);
  __u32 at = (key * 0x94d049bb133111ebULL) >> 55;
  struct ctn_refusals_set *set = bpf_map_lookup_elem(&refusals, &at);
  if (!set) return 0; /* for the verifier */
  __u64 now = bpf_ktime_get_boot_ns();
  struct ctn_refusals *way = refusals_find(set, key);
  if (way && !refusals_open(way, now)) {
    if (refusals_join(way, key, now)) return 0;
    way = NULL;
  } else if (!way) {
    way = refusals_claim(set, key, now);
  }
  if (!way) {
    __sync_fetch_and_add(&core.refusals_untold, 1);
    return 0;
  }
  __u64 number = event_emit(kind, slot, by);
  __sync_lock_test_and_set(&way->number, number);
  refusals_settle(way, number, now);
  return 0;
}

/* --- becoming empty -------------------------------------------------------------------------- */

/* Something came in: the next time the container becomes empty is worth telling. */
static __always_inline void node_arm(struct ctn_node *node) {
  if (!*(volatile __u32 *)&node->armed) node->armed = 1;
}

/* Called by whoever took something out of the container (a task, a record, a reference, a child)
 * and may have been the last. Several may be last at once: the exchange of `armed` lets one of them
 * tell. Who comes in counts itself first and arms then; so either we see it after our exchange and
 * arm again for it, or it finds `armed` unset and sets it. */
__noinline int node_emptied(__u32 slot) {
  struct ctn_node *node = node_of(slot);
  if (!node || slot < CTN_MAX_HIER) return 0;
  __u64 population = *(volatile __u64 *)&node->population;
  __u32 flags = *(volatile __u32 *)&node->flags;
  if (population >> 32) return 0;
  /* Several may be last at once, and each may tell: `kill` looks at the count. */
  if (flags & CTN_WATCHED) {
    __sync_fetch_and_and(&node->flags, ~CTN_WATCHED);
    event_emit(CTN_EVENT_EMPTIED, slot, slot);
  }
  bool removed = *(volatile __u8 *)&node->state == CTN_REMOVED;
  if (removed ? population != 0 || node->dependants
              : node->children || !(flags & (CTN_NOTIFY_ON_RELEASE | CTN_TRANSIENT)))
    return 0;
  if (*(volatile __u32 *)&node->refs) return 0;
  if (!__sync_lock_test_and_set(&node->armed, 0)) return 0;
  if (*(volatile __u64 *)&node->population >> 32 || *(volatile __u32 *)&node->refs) {
    node->armed = 1;
    return 0;
  }
  if (!removed) __sync_fetch_and_add(&node->releases, 1);
  event_emit(removed ? CTN_EVENT_GONE : CTN_EVENT_RELEASED, slot, slot);
  return 0;
}

/* References of subsystems' objects: each keeps the container's slot from being used again. Get one
 * only while a live task of the container, or another reference, is known to be there. */
static __always_inline void node_get(struct ctn_node *node) {
  if (__sync_fetch_and_add(&node->refs, 1) >= file_own) lending_count(CTN_LEND_FILES, 1);
  node_arm(node);
}

static __always_inline void node_put(struct ctn_node *node, __u32 slot) {
  __u32 was = __sync_fetch_and_add(&node->refs, -1);
  if (was > file_own) lending_count(CTN_LEND_FILES, -1);
  if (was == 1) node_emptied(slot);
}

#endif
