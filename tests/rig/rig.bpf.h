/* rig, kernel side: the functions bpf/subsystems.bpf.h asks of one more subsystem. */
#ifndef CTNBPF_TESTS_RIG_BPF_H
#define CTNBPF_TESTS_RIG_BPF_H

#include "rig/rig.h"

#define EPERM 1

CTN_BY_SLOT(rig, struct rig_state);

static __always_inline struct rig_state *rig_of(__u32 slot) { return container_at(rig, slot); }

/* A task's charge, by its record (whose own words are all in use): the slot that holds it, and whether
 * that is a reference too. */
#define RIG_HOLDS (1U << 31)

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, __u64);
  __type(value, __u32);
} rig_tasks SEC(".maps");

static __always_inline void rig_charge(struct ctn_task *child, struct rig_state *state,
                                       __u32 slot) {
  struct ctn_node *node = node_of(slot);
  if (!node) return;
  __sync_fetch_and_add(&state->forks, 1);
  if (state->hold) node_get(node);
  __u64 key = (__u64)child;
  __u32 word = slot | (state->hold ? RIG_HOLDS : 0);
  bpf_map_update_elem(&rig_tasks, &key, &word, BPF_ANY);
}

static __always_inline int extra_fork(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_RIG);
  struct rig_state *state = rig_of(slot);
  if (!state) return 0;
  if (state->refuse_forks) {
    __sync_fetch_and_add(&state->refused, 1);
    return -EPERM;
  }
  rig_charge(child, state, slot);
  return 0;
}

static __always_inline void extra_adopt(struct ctn_task *child) {
  __u32 slot = task_slot(child, CTN_RIG);
  struct rig_state *state = rig_of(slot);
  if (state) rig_charge(child, state, slot);
}

static __always_inline void extra_attach(struct ctn_task *task, __u32 h, __u32 from, __u32 to) {
  if (core.bound[CTN_RIG] != h + 1) return;
  struct rig_state *state = rig_of(from);
  if (state) __sync_fetch_and_add(&state->went, 1);
  state = rig_of(to);
  if (state) __sync_fetch_and_add(&state->came, 1);
}

static __always_inline void extra_exit(struct ctn_task *task, __u32 h, __u32 slot) {
  if (core.bound[CTN_RIG] != h + 1) return;
  struct rig_state *state = rig_of(slot & ~CTN_EXITED);
  if (state) __sync_fetch_and_add(&state->exits, 1);
}

static __always_inline void extra_release(struct ctn_task *task) {
  __u64 key = (__u64)task;
  __u32 *charge = bpf_map_lookup_elem(&rig_tasks, &key);
  if (!charge) return;
  __u32 word = __sync_lock_test_and_set(charge, 0), slot = word & ~RIG_HOLDS;
  bpf_map_delete_elem(&rig_tasks, &key);
  struct rig_state *state = rig_of(slot);
  struct ctn_node *node = node_of(slot);
  if (!state || !node) return;
  __sync_fetch_and_add(&state->released, 1);
  if (word & RIG_HOLDS) node_put(node, slot);
}

#endif
