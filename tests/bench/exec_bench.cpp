/* exec_bench ROUNDS RUNS COMMAND [ARG...]: the cost of starting COMMAND and waiting for its end, in
 * nanoseconds of the clock a run (guest instructions under `scripts/vm --icount`). Its standard output
 * is thrown away; a run that fails ends the benchmark. Prints the figure of each round, one a line. */
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "rounds.h"

namespace {

void run(char** command, const posix_spawn_file_actions_t& actions) {
  pid_t pid = 0;
  if (int err = posix_spawnp(&pid, command[0], &actions, nullptr, command, environ); err != 0) {
    std::fprintf(stderr, "exec_bench: %s: error %d\n", command[0], err);
    std::exit(1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) {
    std::fprintf(stderr, "exec_bench: %s ended with status %#x\n", command[0], status);
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: exec_bench ROUNDS RUNS COMMAND [ARG...]\n");
    return 2;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  print_rounds(std::atoi(argv[1]), std::atoi(argv[2]), 0, [&](int count) {
    for (int i = 0; i < count; i++) run(argv + 3, actions);
  });
}
