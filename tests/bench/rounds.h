/* What the benchmark drivers share: timed rounds. */
#pragma once

#include <cstdio>
#include <cstdlib>
#include <ctime>


inline double now_ns() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/* Does `work(count)` and prints the nanoseconds each one took, on a line of its own. */
template <typename Work>
void print_round(int count, int digits, const Work& work) {
  double start = now_ns();
  work(count);
  std::printf("%.*f\n", digits, (now_ns() - start) / count);
  std::fflush(stdout);
}

/* `rounds` rounds, after a quarter of one to warm up. With 0 rounds whoever holds our stdin asks for
 * each: a line with a count is a round of that many (scripts/bench, which changes what is around this
 * process in between). */
template <typename Work>
void print_rounds(int rounds, int count, int digits, const Work& work) {
  if (rounds > 0) {
    work(count / 4);
    for (int round = 0; round < rounds; round++) print_round(count, digits, work);
    return;
  }
  char line[32];
  while (std::fgets(line, sizeof(line), stdin) != nullptr)
    if (int asked = std::atoi(line); asked > 0) print_round(asked, digits, work);
}
