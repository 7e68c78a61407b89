/* The steps of an attach: what moves tasks, and has their subsystems told. */
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <vector>

#include "ctnbpf/attach.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {

/* Asks the subsystems of the target's hierarchy whether the tasks that `belongs` names may come; under
 * kWithin with their limits. The first refusal is returned. */
Result<void> ask_subsystems(const Writer& writer, Slot slot, Limits limits,
                            const std::function<bool(const ctn_walk_task&)>& belongs);

/* EINVAL: `pid` is the thread that makes kernel threads, which is not to come into a container. */
Result<void> refuse_kthreadd(const Writer& writer, Slot slot, pid_t pid);

/* Says what move_pass() is to move to `slot`: the threads of the process `tgid`, or with 0 every task it
 * is shown; with `chosen` only processes in the map `move_pids`. */
Result<void> begin_move(const Writer& writer, Slot slot, pid_t tgid, bool chosen);

/* Where a task that is in the target now was when the attach began. */
struct Origin {
  Slot from;
  std::uint32_t global_tid;
};
/* By tid. */
using Origins = std::map<std::uint32_t, Origin>;
/* Where tasks were that came to other containers, by global tid. */
using Noted = std::map<std::uint32_t, Slot>;

/* What is noted: those whose subsystems were not told. */
Result<Noted> noted_moves(const State& state, std::uint32_t hierarchy);
/* Strikes these out. */
void forget_moves(const State& state, std::uint32_t hierarchy, const Noted& told);

/* One run of the move iterator over what `move` asks for (or over one thread). */
struct MovePass {
  std::uint64_t there = 0; /* in the target when the pass was over */
  std::uint64_t moved = 0;
  std::uint64_t newborn = 0; /* not moved: still being forked */
  bool full = false;
};
/* Adds to `origins` what it found. */
Result<MovePass> move_pass(const Pins& pins, pid_t tid, Origins& origins);

/* ESRCH: there is no such process or thread; or a thread has this id where a process was asked for. */
Error no_such_task(const Pins& pins, pid_t pid, bool one_thread);
/* The end of an attach: has the subsystems do their part for the tasks that came. When one fails, its
 * error is returned and the tasks are back where they were, but for those forked meanwhile. */
Result<void> tell_subsystems(Writer& writer, Slot slot, Origins origins);
Error no_room_for_tasks(const Writer& writer, pid_t pid);

}  // namespace ctnbpf
