/* switch_bench [ROUNDS [SWITCHES]]: the cost of a context switch: two processes on one CPU hand a byte
 * to and fro over two pipes. Nanoseconds of the clock a switch, with the read and the write that are
 * part of it (guest instructions under `scripts/vm --icount`, whose clock counts those). Prints the
 * figure of each round, one a line. */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "rounds.h"

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void pass(int in, int out) {
  char byte = 0;
  if (read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1) die("switch_bench: pipe");
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  int switches = argc > 2 ? std::atoi(argv[2]) : 20000;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  if (sched_setaffinity(0, sizeof(one), &one) != 0) die("switch_bench: pin to CPU 0");
  int there[2];
  int back[2];
  if (pipe(there) != 0 || pipe(back) != 0) die("switch_bench: pipe");
  pid_t pid = fork();
  if (pid < 0) die("switch_bench: fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pass(there[0], back[1]);
  }
  auto play = [&](int count) {
    char byte = 'x';
    for (int i = 0; i < count / 2; i++)
      if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) die("switch_bench: pipe");
  };
  print_rounds(rounds, switches, 1, play);
  kill(pid, SIGKILL);
}
