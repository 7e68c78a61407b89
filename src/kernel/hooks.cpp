#include "kernel/hooks.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "kernel/grace.h"
#include "kernel/perf_hook.h"

namespace ctnbpf::hooks {
namespace {

bool is_pinned(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

constexpr int kWaits = 1000; /* of some milliseconds each; then somebody else holds a link */

bool works(const Hook& hook, const Levels& levels) {
  return levels.works(hook.like != nullptr ? hook.like : hook.prog());
}

/* Without such a program something is missing; others are there or not. */
bool must_be_there(const Hook& hook) {
  return hook.when == When::kAlways && hook.only_if == nullptr;
}

bool is_wanted(const Hook& hook, const Pins& pins, const Need& need) {
  if ((need.groups & (1U << hook.group)) == 0) return false;
  if ((hook.levels & (1U << need.levels[hook.group])) == 0) return false;
  return must_be_there(hook) || is_pinned(pins.prog(hook.prog()));
}

Result<UniqueFd> attach(const Pins& pins, const Hook& hook) {
  CTN_ASSIGN(UniqueFd prog, pins.open_prog(hook.prog()));
  if (is_perf_hook(hook.section)) return attach_by_perf(prog, hook.section);
  int fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  /* Taken until the link before, whose number is gone already, has let go of it. */
  for (int i = 0; i < kWaits && fd == -EBUSY; i++) {
    wait_for_programs();
    fd = bpf_raw_tracepoint_open(nullptr, prog.get());
  }
  if (fd < 0) return system_error(-fd, fmt::format("attach program '{}'", hook.name));
  return UniqueFd(fd);
}

Result<void> pin_link(const Pins& pins, const Hook& hook) {
  CTN_ASSIGN(UniqueFd link, attach(pins, hook));
  std::string path = pins.link(hook.name);
  if (int err = bpf_obj_pin(link.get(), path.c_str()); err != 0)
    return system_error(-err, fmt::format("pin '{}'", path));
  return {};
}

}  // namespace

bool is_loaded(const Hook& hook, const Levels& levels) {
  if ((hook.levels & (1U << levels.level[hook.group])) == 0 || !works(hook, levels)) return false;
  if (hook.only_if != nullptr && !hook.only_if(levels)) return false;
  if (hook.with != nullptr && !levels.works(hook.with)) return false;
  switch (hook.when) {
    case When::kIfSkips: return levels.skips;
    case When::kIfCalm:
      return !levels.skips || hook.standby == nullptr || !levels.works(hook.standby);
    default: return true;
  }
}

bool is_only_for_skips(std::string_view program) {
  bool any = false;
  bool other = false;
  each_hook([&](const Hook& hook) {
    if (hook.prog() != program) return;
    any = true;
    other = other || hook.when != When::kIfSkips;
  });
  return any && !other;
}

const char* consequence(const Hook& hook) {
  if (hook.skipped != nullptr) return hook.skipped;
  return "somebody was in a system call on BPF maps there; another program stands in, or `fsck` finds it";
}

void wait_until_detached(const Pins& pins) {
  std::set<std::uint32_t> ours;
  each_hook([&](const Hook& hook) {
    auto fd = pins.open_prog(hook.prog());
    if (!fd) return;
    bpf_prog_info info = {};
    __u32 size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd->get(), &info, &size) == 0) ours.insert(info.id);
  });
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

std::vector<std::string> missing(const Pins& pins, const Need& need) {
  std::vector<std::string> names;
  each_hook([&](const Hook& hook) {
    if (is_wanted(hook, pins, need) && !is_pinned(pins.link(hook.name)))
      names.emplace_back(hook.name);
  });
  return names;
}

Result<void> reconcile(const Pins& pins, const Need& need,
                       Result<void> (*before_first)(const Pins&)) {
  if (pins.plain_memory() != nullptr) return {};
  bool attached = false;
  each_hook([&](const Hook& hook) { attached = attached || is_pinned(pins.link(hook.name)); });
  if (need.groups != 0 && !attached) CTN_TRY(before_first(pins));

  for (const HookTable* table : tables())
    for (const Hook& hook : table->rows) {
      bool wanted = is_wanted(hook, pins, need);
      std::string path = pins.link(hook.name);
      if (wanted == is_pinned(path)) continue;
      if (wanted)
        CTN_TRY(pin_link(pins, hook));
      else if (!need.keep && ::unlink(path.c_str()) != 0)
        return system_error(fmt::format("remove '{}'", path));
    }
  return {};
}

}  // namespace ctnbpf::hooks
