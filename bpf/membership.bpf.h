/* Membership: which container a task record counts for, and how that changes.
 *
 * A task counts in its container's `population` as one record from fork until its task_struct is
 * freed, and as one live task until it exits. A container leaves the tree only without live tasks,
 * and its slot is used again only without records and after a grace period.
 *
 * Two CPUs may change one record: the mover against the task's own fork, exit and reaping. Every
 * step is an exchange on one word, done so that whoever loses takes back what it counted. */
#ifndef CTNBPF_BPF_MEMBERSHIP_BPF_H
#define CTNBPF_BPF_MEMBERSHIP_BPF_H

#include "subsystems.bpf.h"

/* What the mover is to do, and the processes where they are several. */
struct ctn_move_request move_request SEC(".data.move");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1); /* set at load */
  __type(key, __u32);
  __type(value, __u8);
} move_pids SEC(".maps");

/* Those whose subsystems have not been told yet. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1); /* set at load */
  __type(key, struct ctn_arrival);
  __type(value, __u32);
} arrivals SEC(".maps");

static __noinline int note_arrival(const struct task_struct *task, __u32 h, __u32 from) {
  if (h >= CTN_MAX_HIER || !core.hierarchies[h].notes_moves) return 0;
  struct ctn_arrival key = {.tid = BPF_CORE_READ(task, pid), .hierarchy = h};
  bpf_map_update_elem(&arrivals, &key, &from,
                      BPF_NOEXIST); /* no room: told by the mover all the same */
  return 0;
}

#define ONE_TASK (CTN_ONE_LIVE | CTN_ONE_RECORD)

/* One task more. Returns the node's flags, and CTN_CROWDED if it has more records than are its own. */
static __always_inline __u32 population_add(__u32 slot) {
  struct ctn_node *node = container_at(nodes, slot); /* roots are not counted: see abi.h */
  if (!node) return 0;
  __u32 crowded = 0;
  if ((__u32)__sync_fetch_and_add(&node->population, ONE_TASK) >= task_own) {
    lending_count(CTN_LEND_TASKS, 1);
    crowded = CTN_CROWDED;
  }
  node_arm(node);
  return *(volatile __u32 *)&node->flags | crowded;
}

static __always_inline void population_sub(__u32 slot, __u64 what) {
  struct ctn_node *node = container_at(nodes, slot);
  if (!node) return;
  __u64 left = __sync_fetch_and_add(&node->population, -what) - what;
  if ((__u32)what && (__u32)left >= task_own) lending_count(CTN_LEND_TASKS, -1);
  if (!(left >> 32)) node_emptied(slot);
}

/* Puts `child` into the forker's container of one hierarchy; false if it is there. The forker may be
 * moved on another CPU meanwhile; counting first and looking again then makes sure that a container
 * we entered still had a live task (the forker) when we were counted, so it cannot have been removed
 * under us. `flags` gets those of the container. Global: the verifier follows it once and not for each
 * hierarchy. */
__noinline int join(struct ctn_task *child, const struct ctn_task *forker, __u32 h, __u32 *flags) {
  if (h >= CTN_MAX_HIER || !child || !forker || !flags) return false;
  const volatile __u32 *word = &forker->slot[h];
  __u32 old = child->slot[h];
  for (int tries = 0; tries < 8; tries++) {
    __u32 slot = *word & ~CTN_EXITED;
    if (slot == old) return false;
    __u32 its_flags = population_add(slot);
    if ((*word & ~CTN_EXITED) == slot) {
      child->slot[h] = slot;
      population_sub(old, ONE_TASK);
      *flags |= its_flags;
      return true;
    }
    population_sub(slot, ONE_TASK);
  }
  return false;
}

/* The same for a new record, which is in no container yet: the usual case in line. */
static __always_inline void join_first(struct ctn_task *child, const struct ctn_task *forker,
                                       __u32 h, __u32 *flags) {
  const volatile __u32 *word = &forker->slot[h];
  __u32 slot = *word & ~CTN_EXITED;
  if (!slot) return;
  __u32 its_flags = population_add(slot);
  if ((*word & ~CTN_EXITED) == slot) {
    child->slot[h] = slot;
    *flags |= its_flags;
    return;
  }
  population_sub(slot, ONE_TASK);
  join(child, forker, h, flags);
}

/* Two hierarchies' words at a time, which come first in the record: most are 0, a root. */
#define CTN_HIER_PAIRS (CTN_MAX_HIER / 2)
static __always_inline bool pair_is_empty(const struct ctn_task *task, int pair) {
  return !((const volatile __u64 *)task)[pair];
}

/* Gives a new record the forker's containers. Whether the child ends up before or after a move of the
 * forker is settled in t_newtask. Returns the flags of all those containers. */
static __always_inline __u32 inherit(struct ctn_task *child, const struct ctn_task *forker) {
  __u32 flags = 0;
  child->came_with = forker->came_with;
#pragma unroll
  for (int pair = 0; pair < CTN_HIER_PAIRS; pair++) {
    if (pair_is_empty(forker, pair)) continue;
    join_first(child, forker, 2 * pair, &flags);
    join_first(child, forker, 2 * pair + 1, &flags);
  }
  return flags;
}

/* The forker was moved during the fork: the child goes where it is now. Only the fork itself changes
 * the child's record: it cannot run yet, and the mover leaves alone what is TASK_NEW. Should the
 * forker be moved once more after the last look, the child is in the task list by now, and the mover
 * comes again until it meets it. */
struct follower {
  const struct task_struct *task;
  struct ctn_task *child;
  const struct ctn_task *forker;
};

static long follow_in(__u32 h, struct follower *who) {
  if (h >= CTN_MAX_HIER) return 1;
  __u32 old = who->child->slot[h], flags = 0;
  if (!join(who->child, who->forker, h, &flags)) return 0;
  subsystems_attach(who->child, h, old, who->child->slot[h]);
  note_arrival(who->task, h, old);
  return 0;
}

/* By bpf_loop(): it is seldom done, and a loop would be verified for each hierarchy with each way that the one
 * before can end, which took the verifier two thirds of the time of `up`. */
static __always_inline void follow(const struct task_struct *task, struct ctn_task *child,
                                   const struct ctn_task *forker) {
  struct follower who = {.task = task, .child = child, .forker = forker};
  bpf_loop(CTN_MAX_HIER, follow_in, &who, 0);
}

struct inheritor {
  struct ctn_task *child;
  const struct ctn_task *forker;
  __u32 flags;
};

static long inherit_in(__u32 h, struct inheritor *who) {
  if (h >= CTN_MAX_HIER) return 1;
  join_first(who->child, who->forker, h, &who->flags);
  return 0;
}

/* inherit() where it is seldom done, for the same reason. */
static __always_inline __u32 inherit_late(struct ctn_task *child, const struct ctn_task *forker) {
  struct inheritor who = {.child = child, .forker = forker};
  bpf_loop(CTN_MAX_HIER, inherit_in, &who, 0);
  return who.flags;
}

static __always_inline void leave_one(struct ctn_task *task, int h) {
  if (!*(volatile __u32 *)&task->slot[h]) return;
  __u32 old = __sync_fetch_and_or(&task->slot[h], CTN_EXITED);
  if (old & CTN_EXITED) return;
  subsystems_exit(task, h, old);
  population_sub(old, CTN_ONE_LIVE);
}

/* The task exits: it stops being live in its containers, once. */
static __always_inline void leave(struct ctn_task *task) {
#pragma unroll
  for (int pair = 0; pair < CTN_HIER_PAIRS; pair++) {
    if (pair_is_empty(task, pair)) continue;
    leave_one(task, 2 * pair);
    leave_one(task, 2 * pair + 1);
  }
}

static __always_inline void forget_one(struct ctn_task *task, int h) {
  __u32 word = task->slot[h], slot = word & ~CTN_EXITED;
  if (!slot) return;
  if (!(word & CTN_EXITED)) subsystems_exit(task, h, slot);
  population_sub(slot, word & CTN_EXITED ? CTN_ONE_RECORD : ONE_TASK);
}

/* The task_struct goes: give back all that is still counted, and the record. Once, should the freeing
 * hook and the control plane, which thinks the hook has missed it, come at the same time. */
static __always_inline void forget(const struct task_struct *task) {
  __u64 home = task_home(task);
  struct ctn_key *home_key = task_key(home);
  if (!key_is_home(home_key)) return;
  __u64 place = task_place_from(task, home, home_key);
  if (place == NO_PLACE) return;
  struct ctn_key *key = task_key(place);
  if (!key_take(key, task)) return;
  struct ctn_task *record = section_at(task_records, place);
  subsystems_release(record);
  subsystems_gone(place);
#pragma unroll
  for (int pair = 0; pair < CTN_HIER_PAIRS; pair++) {
    if (pair_is_empty(record, pair)) continue;
    forget_one(record, 2 * pair);
    forget_one(record, 2 * pair + 1);
  }
  __builtin_memset(record, 0, sizeof(*record));
  key_remove(key, home_key, place != home);
}

/* Is the task of this record gone, though no hook has seen it freed? The last two walks over all
 * tasks have not met it: it is reaped, or was not born yet. `task` may be freed memory, so it is read
 * as data: a task that is being forked, or that has exited and still runs, is not gone. */
static __always_inline bool is_gone(const struct task_struct *task, const struct ctn_task *record) {
  if (record->seen && ctn_met(record->seen, core.walk_mark)) return false;
  __u32 on_cpu = 0, state = 0;
  int exit_state = 0;
  bpf_probe_read_kernel(&on_cpu, bpf_core_field_size(task->on_cpu),
                        (void *)task + bpf_core_field_offset(task->on_cpu));
  bpf_core_read(&state, sizeof(state), &task->__state);
  bpf_core_read(&exit_state, sizeof(exit_state), &task->exit_state);
  bool dead = state & TASK_DEAD;
  if (on_cpu || state & TASK_NEW || (exit_state == EXIT_DEAD && !dead)) return false;
  for (int h = 0; h < CTN_MAX_HIER; h++)
    if (record->slot[h] && !(record->slot[h] & CTN_EXITED)) return dead;
  return true;
}

/* Moves one task to `target` in hierarchy `h`; under the writer lock, so there is one mover. */
static __always_inline enum ctn_move_result move(struct task_struct *task, __u32 h, __u32 target,
                                                 __u32 *from) {
  *from = h;
  h &= CTN_MAX_HIER - 1;
  if (task->flags & PF_EXITING) return CTN_MOVE_EXITING;
  __u32 next = target >= CTN_MAX_HIER ? target : 0;
  /* Not yet woken: the forking CPU may still be making its record. If that says the target, the forker was there
   * and is, as nobody else moves it: the child is there to stay, and need not be waited for. */
  if (task->__state & TASK_NEW) {
    struct ctn_task *born = next ? task_find(task) : NULL;
    if (!born || *(volatile __u32 *)&born->slot[h] != next) return CTN_MOVE_NEW;
    *from = next;
    return CTN_MOVE_SAME;
  }
  /* Before anything of the task changes: a fork of it that is under way looks again (t_newtask). And what is read
   * of it from here on is no older than that it is not new. */
  add_in_order(&moves, 1);
  struct ctn_task *record = task_find(task);
  if (!record) {
    if (!next) return CTN_MOVE_SAME;
    record = task_insert(task);
    if (!record) return CTN_MOVE_FULL;
  }
  __u32 old = *(volatile __u32 *)&record->slot[h];
  if (old & CTN_EXITED) return CTN_MOVE_EXITING;
  if (old) *from = old;
  if (old == next) return CTN_MOVE_SAME;
  subsystems_leave(record, task, h, old);
  population_add(next);
  if (__sync_val_compare_and_swap(&record->slot[h], old, next) != old) {
    /* Only its exit can have changed it. */
    population_sub(next, ONE_TASK);
    return CTN_MOVE_EXITING;
  }
  population_sub(old, ONE_TASK);
  subsystems_attach(record, h, old, next);
  /* An exit that looked before our exchange has not seen the new slot. PF_EXITING is set before the
   * exit hook looks, so either it finds the slot, or we find the flag; doing both is harmless. */
  if (*(volatile unsigned int *)&task->flags & PF_EXITING) leave(record);
  note_arrival(task, h, *from);
  return CTN_MOVED;
}

#endif
