/* This process's pid namespace: what it sees of /proc and of the tasks in containers. Numbers of tasks are those
 * of this namespace everywhere but where they are called global; a task it has no number for cannot be
 * signalled, placed or named from here. */
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* The machine's own, which sees all tasks. */
bool in_initial_pid_namespace();

/* Where the files of a task are by the number it has here: "/proc", or, if that is another namespace's, one
 * that only this process has. */
const std::string& proc_root();

/* What is behind `key` ("NSpid:") in the status of a task, by the number it has here; empty if it is gone. */
std::string status_text(pid_t task, std::string_view key);

enum class Exited { kNot, kToo /* zombies, which no walk from here meets either */ };

/* How many tasks of the containers that `wanted` names cannot be seen from here, by container. Costs nothing in
 * the machine's own namespace. */
Result<std::map<Slot, std::uint64_t>> unseen_tasks(const State& state,
                                                   const std::function<bool(Slot)>& wanted,
                                                   Exited exited = Exited::kNot);

/* EPERM: `top`, or with `below` one below it, has such tasks, and what is to be done needs all of them. While
 * the writer lock is held none comes: who is born has a number wherever its forker has one. */
Result<void> refuse_unseen(const State& state, Slot top, bool below);
/* The same of all containers. */
Result<void> refuse_unseen(const State& state, Exited exited = Exited::kNot);

}  // namespace ctnbpf
