/* What the files of a container are called. Containers of one kind have the same, so a list is made once for each
 * kind: a listing of many containers looks up every name. */
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf::containerfs {

struct Style;

struct FileName {
  std::string name;
  std::uint32_t file; /* FileNumber */
};

class FileNames {
 public:
  /* Of the container `slot`. Lives for ever. */
  static const FileNames& of(const Style& style, const State& state, Slot slot);

  /* As they are listed. */
  std::span<const FileName> all() const { return all_; }
  /* 0: there is none. */
  std::uint32_t find(std::string_view name) const;

 private:
  FileNames(const Style& style, std::uint32_t bound, bool root);
  void add_cpuset(std::uint32_t bound);
  void add_attributes(std::uint32_t bound, bool root, bool prefix);
  void add(std::string name, std::uint32_t file);

  std::vector<FileName> all_;
  std::unordered_map<std::string, std::uint32_t> by_name_;
};

}  // namespace ctnbpf::containerfs
