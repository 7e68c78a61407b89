/* Where pinned objects are, and opening them. Only src/kernel, subsystems/loaded.cpp and few others speak to libbpf. */
#pragma once

#include <memory>
#include <string>

#include "ctnbpf/result.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {

class PlainMemory; /* src/kernel/plain_memory.h */

class Pins {
 public:
  /* `root` in any form: what is kept is absolute, and without `.`, `..`, links and slashes too many. */
  explicit Pins(const std::string& root);

  /* Nothing pinned: the maps are plain memory, for tests. */
  explicit Pins(std::shared_ptr<PlainMemory> memory);
  PlainMemory* plain_memory() const { return memory_.get(); }

  const std::string& root() const { return root_; }
  std::string map(const std::string& name) const { return root_ + "/maps/" + name; }
  std::string prog(const std::string& name) const { return root_ + "/progs/" + name; }
  std::string link(const std::string& name) const { return root_ + "/links/" + name; }
  bool exist() const;

  /* ENOENT when it is not pinned. */
  Result<UniqueFd> open_map(const std::string& name) const;
  Result<UniqueFd> open_prog(const std::string& name) const;

 private:
  std::string root_;
  std::shared_ptr<PlainMemory> memory_;
};

inline constexpr const char* kDefaultPinRoot = "/sys/fs/bpf/ctnbpf";

}  // namespace ctnbpf
