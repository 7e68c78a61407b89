/* fork_bench [ROUNDS [FORKS]]: the cost of fork + exit + wait of this process, in nanoseconds of the
 * clock (in guest instructions under `scripts/vm --icount`, whose clock counts those). Prints the
 * figure of each round, one a line. */
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "rounds.h"

namespace {

void fork_and_wait(int count) {
  for (int i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    if (pid < 0) {
      std::perror("fork_bench: fork");
      std::exit(1);
    }
    waitpid(pid, nullptr, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  int forks = argc > 2 ? std::atoi(argv[2]) : 2000;
  print_rounds(rounds, forks, 0, fork_and_wait);
}
