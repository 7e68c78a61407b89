/* Work under the writer lock that goes on for as long as there are tasks to look at. */
#pragma once

#include <sys/resource.h>

#include <cerrno>

namespace ctnbpf {

/* The calling thread has the highest nice level as long as this lives: thousands of members that want to run
 * must not decide how long the lock is held. Without the right to that it stays as it is. */
class Urgent {
 public:
  Urgent() {
    errno = 0;
    before_ = ::getpriority(PRIO_PROCESS, 0);
    changed_ = errno == 0 && ::setpriority(PRIO_PROCESS, 0, kMost) == 0;
  }
  Urgent(const Urgent&) = delete;
  Urgent& operator=(const Urgent&) = delete;
  ~Urgent() {
    if (changed_) (void)::setpriority(PRIO_PROCESS, 0, before_);
  }

 private:
  static constexpr int kMost = -20;
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace ctnbpf
