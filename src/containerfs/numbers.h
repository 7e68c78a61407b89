/* Numbers of tasks between this process's pid namespace and that of a client. */
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "ctnbpf/abi.h"

namespace ctnbpf::containerfs {

class Numbers {
 public:
  /* Of the thread `client`, in our numbers; of one that has none (0), or is gone, nothing can be told. */
  static Numbers of(pid_t client);

  /* The number the client's namespace has for our thread or process `number`; none if it cannot see it. */
  std::optional<pid_t> theirs(pid_t number) const;
  /* Our number for the thread the client calls `number`; none if there is none, or it cannot be seen. `all`:
   * every task there is. */
  std::optional<pid_t> ours(pid_t number, const std::vector<ctn_walk_task>& all) const;
  bool same() const { return kind_ == Kind::kSame; }

 private:
  enum class Kind { kSame, kBelow, kUnseen };
  Kind kind_ = Kind::kUnseen;
  ino_t space_ = 0;       /* the client's namespace */
  std::size_t level_ = 0; /* how far below ours */
};

}  // namespace ctnbpf::containerfs
