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
#include "numfiles/numfiles_hooks.h"
#include "object_table.h"
#include "perf_hook.h"
#include "pins.h"

namespace ctnbpf::hooks {
namespace {

constexpr std::uint8_t kStrict = 1 << CTN_LEVEL_STRICT;
constexpr std::uint8_t kFallback = 1 << CTN_LEVEL_FALLBACK;
constexpr std::uint8_t kAccounting = 1 << CTN_LEVEL_ACCOUNTING;
constexpr std::uint8_t kGate = kStrict | kFallback;
constexpr std::uint8_t kAnyLevel = kStrict | kFallback | kAccounting;

constexpr std::array kPrograms = {
    HookProgram{"l_file_free", "lsm/file_free_security", CTN_HOOKS_FILE_FREE, kStrict,
                When::kAllocGateIfThere},
    HookProgram{"l_file_gone", "lsm/file_free_security", CTN_HOOKS_FILE_FREE, kStrict,
                When::kOpenGate},
    HookProgram{"f_file_free", "fentry/security_file_free", CTN_HOOKS_FILE_FREE, kFallback,
                When::kIfCalm},
    HookProgram{"k_file_free", "kprobe/security_file_free", CTN_HOOKS_FILE_FREE, kFallback,
                When::kIfSkips},
    HookProgram{"x_file_noacct", "fexit/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfCalm},
    HookProgram{"f_file_noacct", "fentry/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfCalm},
    HookProgram{"r_file_noacct", "kretprobe/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfSkips},
    HookProgram{"k_file_noacct", "kprobe/alloc_empty_file_noaccount", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfSkips},
    HookProgram{"x_file_backing", "fexit/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfCalm},
    HookProgram{"f_file_backing", "fentry/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfCalm},
    HookProgram{"r_file_backing", "kretprobe/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfSkips},
    HookProgram{"k_file_backing", "kprobe/alloc_empty_backing_file", CTN_HOOKS_FILE, kGate,
                When::kAllocGateIfSkips},
    HookProgram{"f_file_alloc", "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, kFallback,
                When::kIfCalm},
    HookProgram{"k_file_alloc", "kprobe/security_file_alloc", CTN_HOOKS_FILE, kFallback,
                When::kIfSkips},
    HookProgram{"a_file_alloc", "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, kFallback,
                When::kIfSkips},
    HookProgram{"b_file_alloc", "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, kFallback,
                When::kIfSkips},
    HookProgram{"c_file_alloc", "fmod_ret/security_file_alloc", CTN_HOOKS_FILE, kFallback,
                When::kIfSkips},
    HookProgram{"l_file_alloc", "lsm/file_alloc_security", CTN_HOOKS_FILE, kStrict, When::kIfThere},
    HookProgram{"l_inode_free", "lsm/inode_free_security", CTN_HOOKS_FILE, kStrict,
                When::kOpenGate},
    HookProgram{"k_file_init", "kprobe/file_init_path", CTN_HOOKS_FILE, kGate,
                When::kOpenGateOrSkips},
    HookProgram{"k_dentry_open", "kprobe/do_dentry_open", CTN_HOOKS_FILE, kFallback,
                When::kIfSkips},
    HookProgram{"l_sock_create", "lsm/socket_create", CTN_HOOKS_FILE, kStrict, When::kOpenGate},
    HookProgram{"l_inode_alloc", "lsm/inode_alloc_security", CTN_HOOKS_FILE, kStrict,
                When::kOpenGate},
    HookProgram{"l_file_open", "lsm/file_open", CTN_HOOKS_FILE, kStrict, When::kOpenGate},
    HookProgram{"l_inode_create", "lsm/inode_create", CTN_HOOKS_FILE, kStrict, When::kOpenGate},
    HookProgram{"l_perf_open", "lsm/perf_event_open", CTN_HOOKS_FILE, kStrict,
                When::kOpenGateIfThere},
#define CTN_SPECIAL_FILE_ROWS(call, kprobe)                                           \
  HookProgram{"r_" #call, "kretprobe/" CTN_SYSCALL(call), CTN_HOOKS_FILE,             \
              kStrict,    When::kOpenGateIfThere,         "r_special"},               \
      HookProgram{"k_" #call, "kprobe/" CTN_SYSCALL(call), CTN_HOOKS_FILE,            \
                  kStrict,    When::kOpenGateIfThere,      #kprobe},                  \
      HookProgram{"a_" #call, "fmod_ret/" CTN_SYSCALL(call), CTN_HOOKS_FILE, kStrict, \
                  When::kOpenGateIfThere},                                            \
      HookProgram{"b_" #call, "fmod_ret/" CTN_SYSCALL(call), CTN_HOOKS_FILE, kStrict, \
                  When::kOpenGateIfThere},                                            \
      HookProgram{"c_" #call, "fmod_ret/" CTN_SYSCALL(call), CTN_HOOKS_FILE, kStrict, \
                  When::kOpenGateIfThere},
    CTN_SPECIAL_FILES(CTN_SPECIAL_FILE_ROWS)
#undef CTN_SPECIAL_FILE_ROWS
        HookProgram{"t_moved", "tp_btf/cgroup_attach_task", CTN_HOOKS_PLACE, kAnyLevel,
                    When::kIfThere},
    HookProgram{"f_affinity", "fentry/sched_setaffinity", CTN_HOOKS_PLACE, kGate, When::kIfCalm},
    HookProgram{"k_affinity", "kprobe/sched_setaffinity", CTN_HOOKS_PLACE, kGate, When::kIfSkips},
    HookProgram{"l_setscheduler", "lsm/task_setscheduler", CTN_HOOKS_PLACE, kStrict},
    HookProgram{"f_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback,
                When::kIfCalm},
    HookProgram{"k_setscheduler", "kprobe/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback,
                When::kIfSkips},
    HookProgram{"a_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback,
                When::kIfSkips},
    HookProgram{"b_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback,
                When::kIfSkips},
    HookProgram{"c_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback,
                When::kIfSkips},
    HookProgram{"r_affinity", "kretprobe/sched_setaffinity", CTN_HOOKS_PLACE, kFallback,
                When::kIfSkips},
    HookProgram{"l_task_free", "lsm/task_free", CTN_HOOKS_TASK, kStrict},
    HookProgram{"f_task_free", "fentry/security_task_free", CTN_HOOKS_TASK, kFallback},
    HookProgram{"k_task_free", "kprobe/security_task_free", CTN_HOOKS_TASK, kFallback,
                When::kIfSkips},
    HookProgram{"t_task_free", "tp_btf/sched_process_free", CTN_HOOKS_TASK,
                kFallback | kAccounting},
    HookProgram{"t_exit", "tp_btf/sched_process_exit", CTN_HOOKS_TASK, kAnyLevel, When::kIfCalm},
    HookProgram{"p_exit", "tp/sched/sched_process_exit", CTN_HOOKS_TASK, kAnyLevel, When::kIfSkips},
    HookProgram{"f_release", "fentry/release_task", CTN_HOOKS_REAP, kAnyLevel, When::kIfCalm},
    HookProgram{"k_release", "kprobe/release_task", CTN_HOOKS_REAP, kAnyLevel, When::kIfSkips},
    HookProgram{"t_switch", "tp_btf/sched_switch", CTN_HOOKS_SWITCH, kAnyLevel},
    HookProgram{"t_newtask", "tp_btf/task_newtask", CTN_HOOKS_TASK, kAnyLevel, When::kIfCalm},
    HookProgram{"k_newtask", "kprobe/wake_up_new_task", CTN_HOOKS_TASK, kAnyLevel, When::kIfSkips},
    HookProgram{"f_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback,
                When::kIfCalm},
    HookProgram{"k_task_alloc", "kprobe/security_task_alloc", CTN_HOOKS_TASK, kFallback,
                When::kIfSkips},
    HookProgram{"a_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback,
                When::kIfSkips},
    HookProgram{"b_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback,
                When::kIfSkips},
    HookProgram{"c_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback,
                When::kIfSkips},
    HookProgram{"l_task_alloc", "lsm/task_alloc", CTN_HOOKS_TASK, kStrict},
};

/* What does the same as a program that is When::kIfCalm, and is never skipped. */
struct Standby {
  const char* tracing;
  const char* unskipped;
};
constexpr std::array kStandbys = {
    Standby{"f_file_free", "k_file_free"},       Standby{"f_file_alloc", "k_file_alloc"},
    Standby{"f_task_alloc", "k_task_alloc"},     Standby{"f_file_noacct", "k_file_noacct"},
    Standby{"x_file_noacct", "r_file_noacct"},   Standby{"f_file_backing", "k_file_backing"},
    Standby{"x_file_backing", "r_file_backing"}, Standby{"f_affinity", "k_affinity"},
    Standby{"f_setscheduler", "k_setscheduler"}, Standby{"t_exit", "p_exit"},
    Standby{"f_release", "k_release"},           Standby{"t_newtask", "k_newtask"},
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
    if (auto fd = pins.open_prog(program.prog())) {
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

std::string_view consequence(std::string_view program) {
  struct Consequence {
    std::string_view program, what;
  };
  constexpr std::array kConsequences = {
      Consequence{
          "f_file_alloc",
          "an open passed its limit; it is counted where kprobes see it (`doctor` lists them)"},
      Consequence{"f_file_free", "a file is counted until its place in memory is used again"},
      Consequence{"f_task_alloc", "a fork passed its limit; the child is a member and is counted"},
      Consequence{"f_task_free", "another program sees the task freed, or `fsck --repair` does"},
      Consequence{"t_task_free", "another program sees the task freed, or `fsck --repair` does"},
      Consequence{"t_newtask",
                  "a child that was forked during an attach may not be where its parent is"},
      Consequence{"t_exit", "a task counts as live until it is freed"},
      Consequence{"f_release", "a task is counted until it is freed, some 30 ms longer"},
      Consequence{"f_affinity", "a member's change of its CPU mask was refused with EINVAL"},
      Consequence{"f_setscheduler",
                  "a member may have left its CPUs; `fsck --repair` puts it back"},
      Consequence{"t_switch", "CPU time is charged at the next switch"},
  };
  for (const Consequence& one : kConsequences)
    if (one.program == program) return one.what;
  if (program == "r_affinity")
    return "nobody noticed if a member left its CPUs; `fsck --repair` puts it back";
  if (program.ends_with("_setscheduler"))
    return "another of the three programs refuses instead; who leaves its CPUs all the same is put back";
  if (program.starts_with("r_file_"))
    return "if the kernel could not make a file below another, the task's next file is not counted";
  if (program.starts_with("r_"))
    return "a charge for a file that was not made stays until the task makes one, or ends";
  if (program.starts_with("a_") || program.starts_with("b_") || program.starts_with("c_"))
    return "another of the three programs refuses instead; where none does the file is counted all the same";
  if (program.starts_with("k_") || program.starts_with("p_"))
    return "somebody was in a system call on BPF maps there; another program stands in, or `fsck` finds it";
  return "a file of the kernel's own below another was counted too";
}

bool is_only_for_skips(std::string_view program) {
  bool any = false;
  for (const HookProgram& one : kPrograms) {
    if (one.prog() != program) continue;
    any = true;
    if (one.when != When::kIfSkips && one.when != When::kAllocGateIfSkips) return false;
  }
  return any;
}

namespace {

/* Of programs that are alike one is tried. */
bool works(const Levels& levels, std::string name) {
  bool copy = name.starts_with("b_") || name.starts_with("c_");
  if (copy) name[0] = 'a';
  if (name == "l_file_gone") name = "l_file_free";
  if (levels.works(name)) return true;
  if (name.starts_with("a_")) name[0] = 'f';
  return name[0] == 'f' && levels.works(name);
}

}  // namespace

bool is_loaded(const HookProgram& program, const Levels& levels) {
  bool open_gate = program.when == When::kOpenGate || program.when == When::kOpenGateIfThere;
  if ((program.levels & (1U << levels.level[program.group])) == 0 || !works(levels, program.prog()))
    return false;
  if (open_gate) return levels.file_gate == FileGate::kOpen;
  if (program.when == When::kOpenGateOrSkips)
    return levels.file_gate == FileGate::kOpen ||
           (levels.skips && levels.level[CTN_HOOKS_FILE] == CTN_LEVEL_FALLBACK);
  bool alloc_gate = program.when == When::kAllocGateIfThere ||
                    program.when == When::kAllocGateIfCalm ||
                    program.when == When::kAllocGateIfSkips;
  if (alloc_gate && levels.file_gate != FileGate::kAlloc) return false;
  if (program.when == When::kIfSkips || program.when == When::kAllocGateIfSkips) {
    /* Who refuses what a kprobe did not charge needs the kprobe. */
    std::string_view name = program.name;
    bool gate = name.starts_with("a_") || name.starts_with("b_") || name.starts_with("c_");
    return levels.skips && (!gate || levels.works("k" + std::string(name.substr(1))));
  }
  bool calm = program.when == When::kIfCalm || program.when == When::kAllocGateIfCalm;
  if (!calm || !levels.skips) return true;
  auto standby = std::find_if(kStandbys.begin(), kStandbys.end(), [&](const Standby& one) {
    return program.name == std::string_view(one.tracing);
  });
  return standby == kStandbys.end() || !levels.works(standby->unskipped);
}

namespace {

/* Among what the hierarchies in use need (groups_needed). */
bool is_wanted(const HookProgram& program, const State& state, std::uint32_t needed) {
  if ((needed & (1U << program.group)) == 0) return false;
  if ((program.levels & (1U << state.core().level[program.group])) == 0) return false;
  return program.when == When::kAlways || is_pinned(state.pins().prog(program.prog()));
}

Result<UniqueFd> attach(const Pins& pins, const HookProgram& program) {
  CTN_ASSIGN(UniqueFd prog, pins.open_prog(program.prog()));
  if (is_perf_hook(program.hook)) return attach_by_perf(prog, program.hook);
  int fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  /* Taken until the link before, whose number is gone already, has let go of it. */
  for (int i = 0; i < kWaits && fd == -EBUSY; i++) {
    wait_for_programs();
    fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  }
  if (fd < 0) return system_error(-fd, fmt::format("attach program '{}'", program.name));
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
    CTN_ASSIGN(UniqueFd link, attach(pins, program));
    if (int err = bpf_obj_pin(link.get(), path.c_str()); err != 0)
      return system_error(-err, fmt::format("pin '{}'", path));
  }
  return {};
}

}  // namespace ctnbpf::hooks
