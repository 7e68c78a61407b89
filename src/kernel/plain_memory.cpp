#include "kernel/plain_memory.h"

namespace ctnbpf {

PlainMemory::Array PlainMemory::array(const std::string& name, std::uint32_t value_size,
                                      std::uint32_t count) {
  auto [at, fresh] = blocks_.try_emplace(name);
  Block& block = at->second;
  if (fresh) {
    auto given = entries_.find(name);
    block.entries = given != entries_.end() ? given->second : count;
    block.lines.resize((std::size_t{block.entries} * value_size + sizeof(Line) - 1) / sizeof(Line));
  }
  return {block.lines.data(), block.entries};
}

}  // namespace ctnbpf
