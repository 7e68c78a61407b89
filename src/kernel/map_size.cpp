#include "kernel/map_size.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "ctnbpf/unique_fd.h"

namespace ctnbpf {
namespace {

/* BPF_MAX_VAR_OFF of the verifier: how far from its start a program may go in a map's value. */
constexpr std::uint64_t kMaxSection = 1ULL << 29;

Result<UniqueFd> make(const std::string& name, std::uint32_t size, std::uint32_t flags) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);
  UniqueFd fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, name.c_str(), sizeof(__u32), size, 1, &options));
  if (!fd.valid()) return system_error(fmt::format("make the map '{}' of {} bytes", name, size));
  return fd;
}

Result<void> size_section(bpf_map* map, const std::string& name, std::uint32_t entries) {
  std::uint64_t size = std::uint64_t{bpf_map__value_size(map)} * entries;
  if (size >= kMaxSection)
    return Error{E2BIG, fmt::format("the map '{}' would be {} MiB large, the kernel lets programs "
                                    "use less than {} of one: choose smaller --max-containers, "
                                    "--max-tasks or --max-files",
                                    name, size >> 20, kMaxSection >> 20)};
  CTN_ASSIGN(UniqueFd large, make(name, static_cast<std::uint32_t>(size), BPF_F_MMAPABLE));
  return use_section(map, large.get());
}

}  // namespace

Result<void> use_section(bpf_map* map, int fd) {
  CTN_ASSIGN(UniqueFd small, make("section", bpf_map__value_size(map), bpf_map__map_flags(map)));
  if (int err = bpf_map__reuse_fd(map, small.get()); err != 0)
    return system_error(-err, fmt::format("use the map '{}'", bpf_map__name(map)));
  if (::dup3(fd, bpf_map__fd(map), O_CLOEXEC) < 0)
    return system_error(fmt::format("use the map '{}'", bpf_map__name(map)));
  return {};
}

Result<bool> size_map(bpf_object* object, const std::string& name, std::uint32_t entries) {
  if (bpf_map* map = bpf_object__find_map_by_name(object, (".data." + name).c_str());
      map != nullptr) {
    CTN_TRY(size_section(map, name, entries));
    return true;
  }
  bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
  if (map == nullptr) return false;
  if (int err = bpf_map__set_max_entries(map, entries); err != 0)
    return system_error(-err, fmt::format("size the map '{}'", name));
  return true;
}

}  // namespace ctnbpf
