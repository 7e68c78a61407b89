#include "hooks.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>

#include "ctnbpf/subsystem.h"
#include "grace.h"
#include "numfiles/numfiles.h"
#include "object_table.h"
#include "pins.h"

namespace ctnbpf::hooks {
namespace {

constexpr std::uint8_t kStrict = 1 << CTN_LEVEL_STRICT;
constexpr std::uint8_t kFallback = 1 << CTN_LEVEL_FALLBACK;
constexpr std::uint8_t kAccounting = 1 << CTN_LEVEL_ACCOUNTING;
constexpr std::uint8_t kGate = kStrict | kFallback;
constexpr std::uint8_t kAnyLevel = kStrict | kFallback | kAccounting;

constexpr std::array kPrograms = {
    HookProgram{"l_file_free", "lsm/file_free_security", CTN_HOOKS_FILE_FREE, kStrict},
    HookProgram{"f_file_free", "fentry/security_file_free", CTN_HOOKS_FILE_FREE, kFallback},
    HookProgram{"x_file_noacct", "fexit/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate, true},
    HookProgram{"f_file_noacct", "fentry/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate, true},
    HookProgram{"x_file_backing", "fexit/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate, true},
    HookProgram{"f_file_backing", "fentry/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate, true},
    HookProgram{"f_file_alloc", "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, kFallback},
    HookProgram{"l_file_alloc", "lsm/file_alloc_security", CTN_HOOKS_FILE, kStrict},
    HookProgram{"f_affinity", "fentry/sched_setaffinity", CTN_HOOKS_PLACE, kGate},
    HookProgram{"l_setscheduler", "lsm/task_setscheduler", CTN_HOOKS_PLACE, kStrict},
    HookProgram{"f_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE,
                kFallback},
    HookProgram{"l_task_free", "lsm/task_free", CTN_HOOKS_TASK, kStrict},
    HookProgram{"f_task_free", "fentry/security_task_free", CTN_HOOKS_TASK, kFallback},
    HookProgram{"t_task_free", "tp_btf/sched_process_free", CTN_HOOKS_TASK,
                kFallback | kAccounting},
    HookProgram{"t_exit", "tp_btf/sched_process_exit", CTN_HOOKS_TASK, kAnyLevel},
    HookProgram{"f_release", "fentry/release_task", CTN_HOOKS_REAP, kAnyLevel},
    HookProgram{"t_switch", "tp_btf/sched_switch", CTN_HOOKS_SWITCH, kAnyLevel},
    HookProgram{"t_newtask", "tp_btf/task_newtask", CTN_HOOKS_TASK, kAnyLevel},
    HookProgram{"f_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback},
    HookProgram{"l_task_alloc", "lsm/task_alloc", CTN_HOOKS_TASK, kStrict},
};

/* The groups of hooks the hierarchies in use need, as bits. */
std::uint32_t groups_needed(const State& state) {
  std::uint32_t needed = 0;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (state.core().hierarchies[h].active == 0 || state.nodes()[h].dependants == 0) continue;
    needed |= 1U << CTN_HOOKS_TASK;
    for (const Subsystem* subsystem : bound_subsystems(state, h)) needed |= subsystem->hooks;
  }
  return needed;
}

bool is_pinned(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

constexpr int kWaits = 1000; /* of some milliseconds each; then somebody else holds a link */

/* The pins of links go at once, the links themselves a moment later, from a work queue. */
void wait_until_detached(const Pins& pins) {
  std::set<std::uint32_t> ours;
  for (const HookProgram& program : kPrograms)
    if (auto fd = pins.open_prog(program.name)) {
      bpf_prog_info info = {};
      __u32 size = sizeof(info);
      if (bpf_obj_get_info_by_fd(fd->get(), &info, &size) == 0) ours.insert(info.id);
    }
  auto any_left = [&] {
    for (__u32 id = 0; bpf_link_get_next_id(id, &id) == 0;) {
      UniqueFd link(bpf_link_get_fd_by_id(id));
      bpf_link_info info = {};
      __u32 size = sizeof(info);
      if (link.valid() && bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0 &&
          ours.contains(info.prog_id))
        return true;
    }
    return false;
  };
  for (int i = 0; i < kWaits && any_left(); i++) wait_for_programs();
  wait_for_programs();
}

/* Records that were left when the hooks went: their tasks and files may be gone and their addresses
 * used by others. Nothing is pinned as attached; a program that still runs has something in a table,
 * as without a record of their task the programs do nothing. */
Result<void> clear_tables(const Pins& pins) {
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(pins, "task", sizeof(ctn_task), true));
  CTN_ASSIGN(ObjectTable files, ObjectTable::open(pins, "file", sizeof(ctn_file), true));
  if (!tasks.in_use() && !files.in_use()) return {};
  wait_until_detached(pins);
  tasks.clear<ctn_task>();
  files.clear<ctn_file>();
  return {};
}

}  // namespace

std::span<const HookProgram> programs() { return kPrograms; }

bool runs_at(const HookProgram& program, std::span<const std::uint32_t, CTN_HOOKS_NR> levels) {
  return (program.levels & (1U << levels[program.group])) != 0;
}

namespace {

/* Among what the hierarchies in use need (groups_needed). */
bool is_wanted(const HookProgram& program, const State& state, std::uint32_t needed) {
  if ((needed & (1U << program.group)) == 0 || !runs_at(program, state.core().level)) return false;
  return !program.optional || is_pinned(state.pins().prog(program.name));
}

Result<UniqueFd> attach(const Pins& pins, const std::string& program) {
  CTN_ASSIGN(UniqueFd prog, pins.open_prog(program));
  int fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  /* Taken until the link before, whose number is gone already, has let go of it. */
  for (int i = 0; i < kWaits && fd == -EBUSY; i++) {
    wait_for_programs();
    fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  }
  if (fd < 0) return system_error(-fd, fmt::format("attach program '{}'", program));
  return UniqueFd(fd);
}

}  // namespace

std::vector<std::string> missing(const State& state) {
  std::uint32_t needed = groups_needed(state);
  std::vector<std::string> names;
  for (const HookProgram& program : kPrograms)
    if (is_wanted(program, state, needed) && !is_pinned(state.pins().link(program.name)))
      names.emplace_back(program.name);
  return names;
}

Result<void> reconcile(Writer& writer) {
  const Pins& pins = writer.pins();
  std::uint32_t needed = groups_needed(writer);
  bool attached = std::any_of(kPrograms.begin(), kPrograms.end(), [&](const HookProgram& program) {
    return is_pinned(pins.link(program.name));
  });
  if (needed != 0 && !attached) CTN_TRY(clear_tables(pins));

  for (const HookProgram& program : kPrograms) {
    bool wanted = is_wanted(program, writer, needed);
    std::string path = pins.link(program.name);
    if (wanted == is_pinned(path)) continue;
    if (!wanted) {
      if (writer.core().keep_hooks != 0) continue;
      if (::unlink(path.c_str()) != 0) return system_error(fmt::format("remove '{}'", path));
      continue;
    }
    CTN_ASSIGN(UniqueFd link, attach(pins, program.name));
    if (int err = bpf_obj_pin(link.get(), path.c_str()); err != 0)
      return system_error(-err, fmt::format("pin '{}'", path));
  }
  return {};
}

}  // namespace ctnbpf::hooks
