#include "placement/kind.h"

#include <algorithm>
#include <fstream>

namespace ctnbpf {
namespace {

/* A list that the kernel shows; `otherwise` where it does not (a kernel without NUMA has no nodes). */
IndexSet shown(const char* path, const char* otherwise) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) line = otherwise;
  auto set = parse_index_set(path, line, PLACE_MAX_CPUS);
  return set ? *set : IndexSet();
}

}  // namespace

IndexSet cpus_there() { return shown("/sys/devices/system/cpu/present", "0"); }
IndexSet cpus_online() { return shown("/sys/devices/system/cpu/online", "0"); }
IndexSet nodes_with_memory() { return shown("/sys/devices/system/node/has_memory", "0"); }

std::uint32_t place_words() {
  static const std::uint32_t words = [] {
    std::size_t cpus = shown("/sys/devices/system/cpu/possible", "0").words().size();
    std::size_t nodes = shown("/sys/devices/system/node/possible", "0").words().size();
    return static_cast<std::uint32_t>(std::max({cpus, nodes, std::size_t{1}}));
  }();
  return words;
}

std::vector<unsigned long> mask_of(const IndexSet& set) {
  std::vector<unsigned long> words(place_words());
  for (std::size_t i = 0; i < words.size(); i++) words[i] = set.word(i);
  return words;
}

}  // namespace ctnbpf
