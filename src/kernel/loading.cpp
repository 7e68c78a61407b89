#include "kernel/loading.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "kernel/map_size.h"

namespace ctnbpf {
namespace {

constexpr const char* kConstants = ".rodata";

Error unknown(const char* what, const std::string& name) {
  return {ENOENT, fmt::format("the BPF object has no {} '{}'", what, name)};
}

/* Where a variable is in a data section, and its size. */
const btf_var_secinfo* find_variable(const btf* types, const char* section,
                                     const std::string& name) {
  int id = btf__find_by_name_kind(types, section, BTF_KIND_DATASEC);
  if (id < 0) return nullptr;
  const btf_type* all = btf__type_by_id(types, static_cast<__u32>(id));
  const btf_var_secinfo* one = btf_var_secinfos(all);
  for (int i = 0; i < btf_vlen(all); i++, one++) {
    const btf_type* variable = btf__type_by_id(types, one->type);
    if (name == btf__name_by_offset(types, variable->name_off)) return one;
  }
  return nullptr;
}

}  // namespace

Result<void> Loading::size(const std::string& name, std::uint32_t entries) {
  CTN_ASSIGN(bool found, size_map(object_, name, entries));
  return found ? Result<void>() : unknown("array", name);
}

Result<void> Loading::size_key(const std::string& name, std::uint32_t bytes) {
  bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
  if (map == nullptr) return unknown("map", name);
  if (int err = bpf_map__set_key_size(map, bytes); err != 0)
    return system_error(-err, fmt::format("size the map '{}'", name));
  return {};
}

Result<void> Loading::set(const std::string& name, std::uint64_t value) {
  bpf_map* map = bpf_object__find_map_by_name(object_, kConstants);
  const btf_var_secinfo* at = find_variable(bpf_object__btf(object_), kConstants, name);
  if (map == nullptr || at == nullptr || at->size > sizeof(value)) return unknown("constant", name);
  std::size_t size = 0;
  const auto* data = static_cast<const char*>(bpf_map__initial_value(map, &size));
  if (data == nullptr || at->offset + at->size > size) return unknown("constant", name);
  std::vector<char> all(data, data + size);
  /* Narrower ones take its low bytes. */
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  std::memcpy(all.data() + at->offset, &value, at->size);
  if (int err = bpf_map__set_initial_value(map, all.data(), all.size()); err != 0)
    return system_error(-err, fmt::format("set the constant '{}'", name));
  return {};
}

}  // namespace ctnbpf
