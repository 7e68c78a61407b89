/* Ends a process at a chosen step of what it does to the kernel, without help from the code that runs.
 *
 * A step is what others can see and what outlives the process:
 *  - a store into a shared mapping of a file or map. Such mappings are kept read-only, so each store
 *    faults; it is then made alone, by single-stepping its instruction (a `rep` is a step a turn).
 *  - a system call that changes something outside: of bpf(2) what changes maps, pins, attaches or
 *    runs a program; reading a BPF iterator; changes of directories and modes; signals; forks; writes
 *    other than to the standard descriptors. They are caught by syscall user dispatch (Linux 5.11).
 * So nothing has to be marked in the source, and nothing new can be forgotten. x86-64 only. */
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace ctnbpf::test {

enum class Steps { kAll, kSystemCalls };

constexpr std::uint64_t kNever = ~0ULL; /* a step nobody gets to: all are counted */

struct Stopped {
  bool killed = false;     /* at the step asked for; else the body came to its end */
  int code = 0;            /* what the body returned, or 128 + signal */
  std::uint64_t steps = 0; /* begun; the last one was not made if it was killed there */
  std::string last;        /* what the last one was */
  std::string output;      /* all that was printed */
};

/* Forks a child that runs `body` up to step number `stop_at` (from 1) and is killed instead of making
 * that; 0: runs to the end, and no steps are counted. What the child forks is not stopped. */
Stopped run_until_step(std::uint64_t stop_at, const std::function<int()>& body,
                       Steps counted = Steps::kAll);

}  // namespace ctnbpf::test
