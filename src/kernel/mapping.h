/* A pinned BPF array mapped into memory. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ctnbpf/pins.h"

namespace ctnbpf {

/* Move-only owner of the mapping. Elements past size() are not mapped. */
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  /* Maps the first `count` elements (all, if there are fewer) of the array `name`, an array map or a data
   * section (map_size.h), which is one value of many elements. `value_size` must be an element's: EPROTO if
   * not, as the pins are then another version's. */
  static Result<Mapping> open(const Pins& pins, const std::string& name, std::uint32_t value_size,
                              std::uint32_t count, bool writable);

  std::uint32_t size() const { return count_; } /* elements mapped */
  std::uint32_t max_entries() const { return max_entries_; }
  template <typename T>
  std::span<T> as() const {
    return {static_cast<T*>(data_), count_};
  }

 private:
  void* data_ = nullptr;
  std::size_t length_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t max_entries_ = 0;
};

}  // namespace ctnbpf
