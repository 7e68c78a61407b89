/* Events: what programs tell user space, and the moment a container becomes empty.
 *
 * The log is an array that is written round and round, so reading it takes nothing from other
 * readers; each reader keeps its own position and sees by the numbers what it missed. Whoever waits
 * is woken by the bell, a ring buffer that nobody has to read: see src/events.cpp. Events are rare
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

/* `by`: the container whose limit refused; else the same slot. The task is the current one. A
 * writer that is overtaken by CTN_EVENT_LOG others while it writes leaves a record with a number
 * that readers do not expect, and they count it as lost. Not static, as node_emptied: the verifier
 * follows a global function once, not for each path that leads to a call. */
__noinline int event_emit(__u32 kind, __u32 slot, __u32 by) {
  struct ctn_node *node = node_of(slot), *by_node = node_of(by);
  if (!node || !by_node) return 0;
  __u64 number = __sync_fetch_and_add(&core.event_head, 1);
  __u32 at = number & (CTN_EVENT_LOG - 1);
  struct ctn_event *event = bpf_map_lookup_elem(&events, &at);
  if (!event) return 0; /* for the verifier */
  *(volatile __u64 *)&event->number = 0;
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
  __sync_lock_test_and_set(&event->number, number + 1);
  /* When it is full, nobody waits. */
  bpf_ringbuf_output(&bell, &number, sizeof(number), BPF_RB_FORCE_WAKEUP);
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
  if (flags & CTN_KILLING) event_emit(CTN_EVENT_EMPTIED, slot, slot);
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
  return event_emit(removed ? CTN_EVENT_GONE : CTN_EVENT_RELEASED, slot, slot);
}

/* References of subsystems' objects: each keeps the container's slot from being used again. Get one
 * only while a live task of the container, or another reference, is known to be there. */
static __always_inline void node_get(struct ctn_node *node) {
  __sync_fetch_and_add(&node->refs, 1);
  node_arm(node);
}

static __always_inline void node_put(struct ctn_node *node, __u32 slot) {
  if (__sync_fetch_and_add(&node->refs, -1) == 1) node_emptied(slot);
}

#endif
