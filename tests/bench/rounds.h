/* What the benchmark drivers share: timed rounds. */
#pragma once

#include <cstdio>
#include <ctime>

inline double now_ns() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/* Does `work(count)` once more than `rounds` says, first with a quarter to warm up; prints the
 * nanoseconds each one took in each round, one figure a line. */
template <typename Work>
void print_rounds(int rounds, int count, int digits, const Work& work) {
  work(count / 4);
  for (int round = 0; round < rounds; round++) {
    double start = now_ns();
    work(count);
    std::printf("%.*f\n", digits, (now_ns() - start) / count);
    std::fflush(stdout);
  }
}
