#include "kernel/mapping.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "kernel/plain_memory.h"

namespace ctnbpf {

Mapping::Mapping(Mapping&& other) noexcept { *this = std::move(other); }

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(length_, other.length_);
  std::swap(count_, other.count_);
  std::swap(max_entries_, other.max_entries_);
  return *this;
}

Mapping::~Mapping() {
  if (length_ != 0) ::munmap(data_, length_);
}

Result<Mapping> Mapping::open(const Pins& pins, const std::string& name, std::uint32_t value_size,
                              std::uint32_t count, bool writable) {
  if (PlainMemory* memory = pins.plain_memory()) {
    PlainMemory::Array array = memory->array(name, value_size, count);
    Mapping mapping;
    mapping.data_ = array.data;
    mapping.max_entries_ = array.entries;
    mapping.count_ = std::min(count, array.entries);
    return mapping;
  }
  CTN_ASSIGN(UniqueFd fd, pins.open_map(name));
  bpf_map_info info = {};
  __u32 info_size = sizeof(info);
  if (int err = bpf_obj_get_info_by_fd(fd.get(), &info, &info_size); err != 0)
    return system_error(-err, fmt::format("read the properties of map '{}'", name));
  if (info.max_entries == 1 && info.value_size % value_size == 0) {
    info.max_entries = info.value_size / value_size;
    info.value_size = value_size;
  }
  if (info.value_size != value_size || (info.map_flags & BPF_F_MMAPABLE) == 0)
    return Error{EPROTO, fmt::format("map '{}' has records of {} bytes, this ctnbpf knows {}: the "
                                     "pins below {} were made by another version; use that one, or "
                                     "run `ctnbpf down --force` and `ctnbpf up`",
                                     name, info.value_size, value_size, pins.root())};

  Mapping mapping;
  mapping.max_entries_ = info.max_entries;
  mapping.count_ = std::min(count, info.max_entries);
  mapping.length_ = std::size_t{mapping.count_} * value_size;
  void* data = ::mmap(nullptr, mapping.length_, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return system_error(fmt::format("map '{}' into memory", name));
  mapping.data_ = data;
  return mapping;
}

}  // namespace ctnbpf
