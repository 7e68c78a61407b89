#include "hooks.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "ctnbpf/subsystem.h"
#include "mapping.h"
#include "numfiles/numfiles.h"
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
    HookProgram{"f_setscheduler", "fmod_ret/security_task_setscheduler", CTN_HOOKS_PLACE, kFallback},
    HookProgram{"l_task_free", "lsm/task_free", CTN_HOOKS_TASK, kStrict},
    HookProgram{"f_task_free", "fentry/security_task_free", CTN_HOOKS_TASK, kFallback},
    HookProgram{"t_task_free", "tp_btf/sched_process_free", CTN_HOOKS_TASK, kFallback | kAccounting},
    HookProgram{"t_exit", "tp_btf/sched_process_exit", CTN_HOOKS_TASK, kAnyLevel},
    HookProgram{"f_release", "fentry/release_task", CTN_HOOKS_REAP, kAnyLevel},
    HookProgram{"t_switch", "tp_btf/sched_switch", CTN_HOOKS_SWITCH, kAnyLevel},
    HookProgram{"t_newtask", "tp_btf/task_newtask", CTN_HOOKS_TASK, kAnyLevel},
    HookProgram{"f_task_alloc", "fmod_ret/security_task_alloc", CTN_HOOKS_TASK, kFallback},
    HookProgram{"l_task_alloc", "lsm/task_alloc", CTN_HOOKS_TASK, kStrict},
};

/* The groups of hooks the hierarchies in use need, as bits. */
std::uint32_t groups_needed(const Writer& writer) {
  std::uint32_t needed = 0;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (writer.core().hierarchies[h].active == 0 || writer.nodes()[h].dependants == 0) continue;
    needed |= 1U << CTN_HOOKS_TASK;
    for (const Subsystem* subsystem : bound_subsystems(writer, h)) needed |= subsystem->hooks;
  }
  return needed;
}

bool is_pinned(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

/* Records that were left when the hooks went: their tasks and files may be gone and their addresses
 * used by others. Nothing is attached now, so nobody looks. */
template <typename Record>
Result<void> clear_table(const Pins& pins, const std::string& name) {
  CTN_ASSIGN(Mapping buckets, Mapping::open(pins, name + "_buckets", sizeof(ctn_bucket), ~0U, true));
  CTN_ASSIGN(Mapping records, Mapping::open(pins, name + "_records", sizeof(Record), ~0U, true));
  auto all = records.as<Record>();
  for (std::size_t b = 0; b < buckets.size(); b++) {
    ctn_bucket& bucket = buckets.as<ctn_bucket>()[b];
    for (std::size_t i = 0; i < CTN_BUCKET_KEYS; i++)
      if (bucket.key[i] != 0) all[b * CTN_BUCKET_KEYS + i] = {};
    if (bucket.home != 0 || std::any_of(std::begin(bucket.key), std::end(bucket.key),
                                        [](std::uint64_t key) { return key != 0; }))
      bucket = {};
  }
  return {};
}

}  // namespace

std::span<const HookProgram> programs() { return kPrograms; }

bool runs_at(const HookProgram& program, std::span<const std::uint32_t, CTN_HOOKS_NR> levels) {
  return (program.levels & (1U << levels[program.group])) != 0;
}

namespace {

Result<UniqueFd> attach(const Pins& pins, const std::string& program) {
  CTN_ASSIGN(UniqueFd prog, pins.open_prog(program));
  int fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  if (fd < 0) return system_error(-fd, fmt::format("attach program '{}'", program));
  return UniqueFd(fd);
}

}  // namespace

Result<void> reconcile(Writer& writer) {
  const Pins& pins = writer.pins();
  std::uint32_t needed = groups_needed(writer);
  bool attached = std::any_of(kPrograms.begin(), kPrograms.end(), [&](const HookProgram& program) {
    return is_pinned(pins.link(program.name));
  });
  if (needed != 0 && !attached) {
    CTN_TRY(clear_table<ctn_task>(pins, "task"));
    CTN_TRY(clear_table<ctn_file>(pins, "file"));
  }

  for (const HookProgram& program : kPrograms) {
    bool wanted = (needed & (1U << program.group)) != 0 && runs_at(program, writer.core().level);
    if (program.optional && !is_pinned(pins.prog(program.name))) wanted = false;
    std::string path = pins.link(program.name);
    if (wanted == is_pinned(path)) continue;
    if (!wanted) {
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
