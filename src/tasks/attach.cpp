#include "ctnbpf/membership.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/iterators.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/confirmed.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "kernel/mapping.h"
#include "base/urgent.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

/* Those that `belongs` says come along, by the container each is in now. */
std::vector<Slot> origins(const std::vector<ctn_walk_task>& tasks, std::uint32_t hierarchy,
                          const std::function<bool(const ctn_walk_task&)>& belongs) {
  std::vector<Slot> from;
  for (const ctn_walk_task& task : tasks)
    if (!has_exited(task) && belongs(task)) from.push_back(container_of(task, hierarchy));
  return from;
}

}  // namespace

Result<void> ask_subsystems(const Writer& writer, Slot slot, Limits limits,
                            const std::function<bool(const ctn_walk_task&)>& belongs) {
  std::uint32_t hierarchy = writer.nodes()[slot].hierarchy;
  std::vector<Slot> from{hierarchy};
  if (limits == Limits::kWithin) {
    CTN_ASSIGN(auto tasks, walk_tasks(writer.pins()));
    from = origins(tasks, hierarchy, belongs);
  }
  for (const Subsystem* subsystem : bound_subsystems(writer, hierarchy)) {
    if (limits == Limits::kWithin && subsystem->within_limits)
      CTN_TRY(subsystem->within_limits(writer, slot, from));
    if (subsystem->can_attach) CTN_TRY(subsystem->can_attach(writer, slot, from.size()));
    if (subsystem->admit) CTN_TRY(subsystem->admit(writer, slot, belongs));
  }
  return {};
}

Result<void> begin_move(const Writer& writer, Slot slot, pid_t tgid, bool chosen) {
  CTN_ASSIGN(Mapping request,
             Mapping::open(writer.pins(), "move", sizeof(ctn_move_request), 1, true));
  request.as<ctn_move_request>()[0] = {
      .hierarchy = writer.nodes()[slot].hierarchy,
      .slot = slot,
      .tgid = static_cast<__u32>(tgid),
      .chosen = chosen,
  };
  return {};
}

Result<MovePass> move_pass(const Pins& pins, pid_t tid, Origins& origins) {
  CTN_ASSIGN(auto reports, run_iterator_as<ctn_move_report>(pins, "i_move", tid));
  MovePass pass;
  std::uint32_t last = 0; /* ascending by tid; a task may be shown twice in a row: see i_move */
  for (const ctn_move_report& report : reports) {
    if (report.result == CTN_MOVED || report.result == CTN_MOVE_SAME) {
      pass.there += report.tid != last;
      last = report.tid;
      /* A later pass finds it here already. */
      origins.emplace_hint(origins.end(), report.tid, Origin{report.from, report.global_tid});
    }
    pass.moved += report.result == CTN_MOVED;
    pass.newborn += report.result == CTN_MOVE_NEW;
    pass.full = pass.full || report.result == CTN_MOVE_FULL;
  }
  return pass;
}

namespace {

/* For each of `subsystems` that wants to know; how many were told, and the error of the next. */
std::pair<std::size_t, Result<void>> tell(Writer& writer, Slot slot,
                                          std::span<const Subsystem* const> subsystems,
                                          std::span<const Arrival> tasks) {
  for (std::size_t i = 0; i < subsystems.size(); i++) {
    if (subsystems[i]->attach == nullptr) continue;
    if (auto done = subsystems[i]->attach(writer, slot, tasks); !done)
      return {i, done.error().within(fmt::format("subsystem {}", subsystems[i]->name))};
  }
  return {subsystems.size(), {}};
}

/* The tasks go back where they were, and those of `subsystems` that were told are told of that. */
Result<void> take_back(Writer& writer, Slot slot, std::span<const Subsystem* const> subsystems,
                       const Origins& origins) {
  std::map<Slot, std::vector<Arrival>> back;
  for (const auto& [tid, was] : origins)
    if (Slot from = was.from; from != slot)
      back[from].push_back({static_cast<pid_t>(tid), slot, true});
  for (const auto& [from, its] : back) {
    CTN_TRY(begin_move(writer, from, 0, false));
    for (const Arrival& one : its) {
      Origins ignored;
      (void)move_pass(writer.pins(), one.tid, ignored); /* it may have exited */
    }
    (void)tell(writer, from, subsystems, its);
  }
  return {};
}

}  // namespace

/* `origins` is changed in here, which clang-tidy 14 does not see. NOLINTNEXTLINE(performance-*) */
Result<void> tell_subsystems(Writer& writer, Slot slot, Origins origins) {
  std::uint32_t hierarchy = writer.nodes()[slot].hierarchy;
  CTN_ASSIGN(Noted noted, noted_moves(writer, hierarchy));
  /* A child that followed its forker is found here already; the note knows where it was. */
  Noted told_of;
  for (auto& [tid, was] : origins) {
    if (auto found = noted.find(was.global_tid); found != noted.end()) was.from = found->second;
    told_of.emplace(was.global_tid, was.from);
  }
  std::vector<const Subsystem*> all = bound_subsystems(writer, hierarchy);
  std::vector<Arrival> tasks;
  for (const auto& [tid, was] : origins) tasks.push_back({static_cast<pid_t>(tid), was.from});
  auto [told, done] = tell(writer, slot, all, tasks);
  if (!done) CTN_TRY(take_back(writer, slot, std::span(all).first(told + 1), origins));
  forget_moves(writer, hierarchy, told_of);
  return done;
}

Error no_such_task(const Pins& pins, pid_t pid, bool one_thread) {
  auto number = static_cast<std::uint32_t>(pid);
  auto tasks = walk_tasks(pins, pid);
  if (!one_thread && tasks)
    for (const ctn_walk_task& task : *tasks)
      if (task.tid == number && task.tgid != number)
        return {ESRCH,
                fmt::format("{0} is a thread of process {1}: attach {1}, or with --thread {0} "
                            "alone",
                            pid, task.tgid)};
  return {ESRCH,
          fmt::format("no {} {}: it is gone or exiting", one_thread ? "thread" : "process", pid)};
}

Error no_room_for_tasks(const Writer& writer, pid_t pid) {
  return {ENOSPC,
          fmt::format(
              "cannot attach {}: no room for more contained tasks; `ctnbpf down` and `ctnbpf up "
              "--max-tasks N` (now {}) makes room",
              pid, writer.core().max_tasks)};
}

Result<void> refuse_kthreadd(const Writer& writer, Slot slot, pid_t pid) {
  constexpr pid_t kKthreadd = 2; /* but in a pid namespace, where another process has that pid */
  if (pid != kKthreadd || slot < CTN_MAX_HIER) return {};
  auto tasks = walk_tasks(writer.pins(), pid);
  if (!tasks || tasks->empty() || tasks->front().kernel_thread == 0) return {};
  return Error{
      EINVAL,
      fmt::format("process {} makes the kernel's own threads: they would be born in {}, and "
                  "what refuses them there harms the whole machine",
                  pid, printable(tree::address_of(writer, slot)))};
}

namespace {

Result<AttachResult> attach_all(Writer& writer, Slot slot, pid_t pid, bool one_thread,
                                Limits limits, const std::function<Result<void>()>& confirm) {
  auto number = static_cast<std::uint32_t>(pid);
  CTN_TRY(refuse_kthreadd(writer, slot, pid));
  CTN_TRY(ask_subsystems(writer, slot, limits, [&](const ctn_walk_task& task) {
    return (one_thread ? task.tid : task.tgid) == number;
  }));
  CTN_TRY(begin_move(writer, slot, one_thread ? 0 : pid, false));

  /* Again until a pass finds nothing to do. A thread made by a thread that was moved is born in the
   * target, or follows it there if the move came in the middle of the fork (bpf/membership.bpf.h), so
   * the passes end as soon as all threads are there. */
  Origins origins;
  Urgent urgent;
  for (int passes = 1;; passes++) {
    auto pass = move_pass(writer.pins(), one_thread ? pid : 0, origins);
    if (!pass)
      return pass.error().code == ESRCH ? no_such_task(writer.pins(), pid, one_thread)
                                        : pass.error();
    if (pass->full) {
      CTN_TRY(tell_subsystems(writer, slot, origins));
      return no_room_for_tasks(writer, pid);
    }
    if (pass->there == 0 && pass->newborn == 0) return no_such_task(writer.pins(), pid, one_thread);
    if (pass->moved != 0 || pass->newborn != 0) continue;
    if (confirm)
      if (auto ok = confirm(); !ok) {
        CTN_TRY(take_back(writer, slot, {}, origins));
        return ok.error();
      }
    CTN_TRY(tell_subsystems(writer, slot, origins));
    return AttachResult{pass->there, passes};
  }
}

}  // namespace

Result<AttachResult> attach(Writer& writer, Slot slot, pid_t pid, bool one_thread, Limits limits) {
  return attach_all(writer, slot, pid, one_thread, limits, {});
}

Result<AttachResult> attach_confirmed(Writer& writer, Slot slot, pid_t pid, bool one_thread,
                                      const std::function<Result<void>()>& confirm) {
  return attach_all(writer, slot, pid, one_thread, Limits::kIgnore, confirm);
}

}  // namespace ctnbpf
