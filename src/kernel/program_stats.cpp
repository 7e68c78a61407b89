#include "ctnbpf/program_stats.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <filesystem>

#include "kernel/hooks.h"
#include "kernel/object_table.h"

namespace ctnbpf {
namespace {

Result<ProgramStats> stats_of(const Pins& pins, const hooks::Hook& hook) {
  CTN_ASSIGN(UniqueFd program, pins.open_prog(hook.prog()));
  bpf_prog_info info = {};
  __u32 size = sizeof(info);
  if (int err = bpf_obj_get_info_by_fd(program.get(), &info, &size); err != 0)
    return system_error(-err, fmt::format("read the properties of program '{}'", hook.prog()));
  return ProgramStats{hook.prog(),
                      hook.section,
                      hooks::consequence(hook),
                      ::access(pins.link(hook.name).c_str(), F_OK) == 0,
                      info.run_cnt,
                      info.run_time_ns,
                      info.recursion_misses};
}

Result<std::vector<ProgramStats>> all_stats(const Pins& pins) {
  std::vector<ProgramStats> out;
  for (const hooks::HookTable* table : hooks::tables())
    for (const hooks::Hook& hook : table->rows) {
      if (hook.program != nullptr && hook.program != std::string_view(hook.name) &&
          std::any_of(out.begin(), out.end(),
                      [&](const auto& known) { return known.name == hook.program; }))
        continue; /* one program, another function */
      auto one = stats_of(pins, hook);
      if (one)
        out.push_back(*one);
      else if (one.error().code != ENOENT) /* not of this level */
        return one.error();
    }
  return out;
}

}  // namespace

Result<std::vector<ProgramStats>> program_stats(const Pins& pins, int seconds) {
  if (seconds == 0) return all_stats(pins);
  UniqueFd counting(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!counting.valid()) return system_error("have the kernel count runs of programs");
  CTN_ASSIGN(auto before, all_stats(pins));
  (void)::poll(nullptr, 0, seconds * 1000);
  CTN_ASSIGN(auto after, all_stats(pins));
  for (std::size_t i = 0; i < after.size() && i < before.size(); i++) {
    after[i].runs -= before[i].runs;
    after[i].run_time_ns -= before[i].run_time_ns;
  }
  return after;
}

namespace {

/* What the kernel allocates; what it says in fdinfo is not that before 6.4: there the elements of an array
 * have keys, those of a hash map that is still empty are there, and a ring takes nothing. */
std::uint64_t bytes_of(const bpf_map_info& info) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  auto whole = [](std::uint64_t bytes, std::uint64_t unit) {
    return (bytes + unit - 1) / unit * unit;
  };
  std::uint64_t entries = info.max_entries;
  std::uint64_t bytes = 0;
  switch (info.type) {
    case BPF_MAP_TYPE_ARRAY: bytes = whole(info.value_size, 8) * entries; break;
    case BPF_MAP_TYPE_RINGBUF: bytes = entries + 2 * page; break;
    default: { /* hash maps: buckets of 16 bytes, and the elements where they are made beforehand */
      constexpr std::uint64_t kElement = 48; /* what an element has besides key and value */
      bytes = 16 * std::bit_ceil(entries);
      if ((info.map_flags & BPF_F_NO_PREALLOC) == 0)
        bytes += (kElement + whole(info.key_size, 8) + whole(info.value_size, 8)) * entries;
    }
  }
  return whole(bytes, page) + page; /* the page of the map itself */
}

}  // namespace

Result<std::uint64_t> table_entries(const Pins& pins, const std::string& name) {
  return ObjectTable::count(pins, name);
}

Result<std::uint64_t> map_memory(const Pins& pins) {
  std::uint64_t sum = 0;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(pins.root() + "/maps", failed)) {
    CTN_ASSIGN(UniqueFd map, pins.open_map(entry.path().filename()));
    bpf_map_info info = {};
    __u32 size = sizeof(info);
    if (int err = bpf_obj_get_info_by_fd(map.get(), &info, &size); err != 0)
      return system_error(-err, "read the properties of a map");
    sum += bytes_of(info);
  }
  if (failed) return system_error(failed.value(), "list the pinned maps");
  return sum;
}

}  // namespace ctnbpf
