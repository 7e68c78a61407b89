/* Running the pinned iterators. */
#pragma once

#include <sys/types.h>

#include <cstring>
#include <string>
#include <vector>

#include "ctnbpf/pins.h"

namespace ctnbpf {

/* All bytes a pinned iterator prints over all tasks, or over one thread (tid not 0; ESRCH if it is
 * gone). Narrowing it to a process is not offered: on kernel 6.1 that walk never ends, with the CPU
 * locked up, when a thread of the process exits at the wrong moment. */
Result<std::vector<char>> run_iterator(const Pins& pins, const std::string& program, pid_t tid);

/* The same, as records. */
template <typename T>
Result<std::vector<T>> run_iterator_as(const Pins& pins, const std::string& program, pid_t tid) {
  CTN_ASSIGN(std::vector<char> bytes, run_iterator(pins, program, tid));
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

}  // namespace ctnbpf
