/* A task that is held by more than its number, which the kernel gives to another once it is gone. */
#pragma once

#include <sys/types.h>

#include "ctnbpf/unique_fd.h"

namespace ctnbpf::containerfs {

class HeldTask {
 public:
  /* The process or thread that has this number now, in this pid namespace. */
  explicit HeldTask(pid_t number);
  /* Has it the number still? A zombie does. While this says so, the number meant the same task all the time. */
  bool there() const;

 private:
  UniqueFd dir_; /* in /proc, of the task itself */
};

}  // namespace ctnbpf::containerfs
