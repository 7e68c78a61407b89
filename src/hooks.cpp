#include "hooks.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "ctnbpf/subsystem.h"
#include "mapping.h"
#include "pins.h"

namespace ctnbpf::hooks {
namespace {

constexpr std::uint8_t kStrict = 1 << CTN_LEVEL_STRICT;
constexpr std::uint8_t kFallback = 1 << CTN_LEVEL_FALLBACK;
constexpr std::uint8_t kAccounting = 1 << CTN_LEVEL_ACCOUNTING;

constexpr std::array kPrograms = {
    HookProgram{"l_task_free", "lsm/task_free", kStrict, false},
    HookProgram{"f_task_free", "fentry/security_task_free", kFallback, false},
    HookProgram{"t_task_free", "tp_btf/sched_process_free", kFallback | kAccounting, false},
    HookProgram{"t_exit", "tp_btf/sched_process_exit", kStrict | kFallback | kAccounting, false},
    HookProgram{"f_release", "fentry/release_task", kStrict | kFallback, true},
    HookProgram{"t_newtask", "tp_btf/task_newtask", kStrict | kFallback | kAccounting, false},
    HookProgram{"f_task_alloc", "fmod_ret/security_task_alloc", kFallback, false},
    HookProgram{"l_task_alloc", "lsm/task_alloc", kStrict, false},
};

struct Need {
  bool any = false;
  bool counting = false;
};

Need need_of(const Writer& writer) {
  Need need;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (writer.core().hierarchies[h].active == 0 || writer.nodes()[h].dependants == 0) continue;
    need.any = true;
    for (const Subsystem* subsystem : bound_subsystems(writer, h))
      need.counting = need.counting || subsystem->counts_tasks;
  }
  return need;
}

bool is_pinned(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

/* Records that were left when the hooks went: their tasks may be gone and their addresses used by
 * others. Nothing is attached now, so nobody looks. */
Result<void> clear_task_table(const Pins& pins) {
  CTN_ASSIGN(Mapping buckets, Mapping::open(pins, "task_buckets", sizeof(ctn_bucket), ~0U, true));
  CTN_ASSIGN(Mapping records, Mapping::open(pins, "task_records", sizeof(ctn_task), ~0U, true));
  auto all = records.as<ctn_task>();
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

bool runs_at(const HookProgram& program, std::uint32_t level) {
  return (program.levels & (1U << level)) != 0;
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
  Need need = need_of(writer);
  bool attached = std::any_of(kPrograms.begin(), kPrograms.end(), [&](const HookProgram& program) {
    return is_pinned(pins.link(program.name));
  });
  if (need.any && !attached) CTN_TRY(clear_task_table(pins));

  for (const HookProgram& program : kPrograms) {
    bool wanted = need.any && runs_at(program, writer.core().fork_level) &&
                  (!program.only_if_counting || (need.counting && writer.core().reap_level != 0));
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
