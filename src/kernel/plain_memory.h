/* The maps as plain memory of this process: what the control plane does with them then runs without privileges,
 * under sanitizers and fuzzers. There are no programs, tasks or links in it. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf {

class PlainMemory {
 public:
  /* How many records the arrays have that are asked for as a whole; any other one has as many as it was first asked
   * for. */
  explicit PlainMemory(std::map<std::string, std::uint32_t> entries)
      : entries_(std::move(entries)) {}

  struct Array {
    void* data;
    std::uint32_t entries;
  };
  /* Of zeroes at first. */
  Array array(const std::string& name, std::uint32_t value_size, std::uint32_t count);

 private:
  struct alignas(
      64) Line { /* records are, some of them, as large as a cache line and aligned to it */
    std::byte bytes[64];
  };
  struct Block {
    std::vector<Line> lines;
    std::uint32_t entries = 0;
  };
  std::map<std::string, std::uint32_t> entries_;
  std::map<std::string, Block> blocks_;
};

}  // namespace ctnbpf
