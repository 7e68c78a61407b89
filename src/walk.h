/* Running the pinned iterators. Internal. */
#pragma once

#include <sys/types.h>

#include <vector>

#include "ctnbpf/membership.h"
#include "pins.h"

namespace ctnbpf {

/* All bytes a pinned iterator prints over the tasks in scope. ESRCH: no such process or thread. */
Result<std::vector<char>> run_iterator(const Pins& pins, const std::string& program, WalkScope scope,
                                       pid_t pid);

/* The same, as records. */
template <typename T>
Result<std::vector<T>> run_iterator_as(const Pins& pins, const std::string& program, WalkScope scope,
                                       pid_t pid) {
  CTN_ASSIGN(std::vector<char> bytes, run_iterator(pins, program, scope, pid));
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

}  // namespace ctnbpf
