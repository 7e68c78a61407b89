#include "kernel/instances.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/atomics.h"
#include "kernel/mapping.h"

namespace ctnbpf {
namespace {

constexpr const char* kCore = ".data.core"; /* the section, by which libbpf names the map */

Result<bpf_map_info> info_of(int map) {
  bpf_map_info info = {};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return system_error("look at a BPF map");
  return info;
}

/* If the map is the core of an instance. */
std::optional<std::uint32_t> groups_of(int map, const bpf_map_info& info) {
  constexpr std::size_t kHead = 2 * sizeof(__u32); /* magic and layout */
  if (std::strcmp(info.name, kCore) != 0 || info.value_size < kHead) return std::nullopt;
  std::vector<char> value(std::max<std::size_t>(info.value_size, sizeof(ctn_core)));
  __u32 first = 0;
  if (bpf_map_lookup_elem(map, &first, value.data()) != 0) return std::nullopt;
  const auto& core = *reinterpret_cast<const ctn_core*>(value.data());
  if (core.magic != CTN_MAGIC) return std::nullopt;
  if (core.layout != CTN_LAYOUT) return 0;
  return core.groups == CTN_NO_GROUPS ? std::nullopt : std::optional(core.groups);
}

}  // namespace

Result<std::set<std::uint32_t>> groups_in_use(int but_for) {
  __u32 own = 0;
  if (but_for >= 0) {
    CTN_ASSIGN(bpf_map_info info, info_of(but_for));
    own = info.id;
  }
  std::set<std::uint32_t> found;
  __u32 id = 0;
  while (bpf_map_get_next_id(id, &id) == 0) {
    UniqueFd map(id == own ? -1 : bpf_map_get_fd_by_id(id));
    if (!map.valid()) continue; /* it has just gone */
    CTN_ASSIGN(bpf_map_info info, info_of(map.get()));
    if (auto groups = groups_of(map.get(), info)) found.insert(*groups);
  }
  if (errno != ENOENT) return system_error("look for other instances");
  return found;
}

Result<std::uint32_t> groups_number(int core) {
  CTN_ASSIGN(auto taken, groups_in_use(core));
  if (!taken.contains(0)) return std::uint32_t{0};
  CTN_ASSIGN(bpf_map_info info, info_of(core));
  return info.id;
}

void retire(const Pins& pins) {
  auto core = Mapping::open(pins, "core", sizeof(ctn_core), 1, true);
  if (core && core->as<ctn_core>()[0].layout == CTN_LAYOUT)
    store(core->as<ctn_core>()[0].groups, std::uint32_t{CTN_NO_GROUPS});
}

}  // namespace ctnbpf
