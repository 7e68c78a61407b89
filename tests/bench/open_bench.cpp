/* open_bench [ROUNDS [OPENS [PATH]]]: the cost of open + close of PATH, an existing file, in
 * nanoseconds of the clock (in guest instructions under `scripts/vm --icount`, whose clock counts
 * those). Without PATH it is a new file on the tmpfs /dev/shm: an open on the VM's root waits for the
 * host. Prints the figure of each round, one a line. */
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "rounds.h"

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void open_and_close(const char* path, int count) {
  for (int i = 0; i < count; i++) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) die("open_bench: open");
    close(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  int opens = argc > 2 ? std::atoi(argv[2]) : 20000;
  char own[] = "/dev/shm/open_bench.XXXXXX";
  const char* path = argc > 3 ? argv[3] : own;
  if (path == own) {
    int fd = mkstemp(own);
    if (fd < 0) die("open_bench: make a file in /dev/shm");
    close(fd);
  }
  print_rounds(rounds, opens, 0, [&](int count) { open_and_close(path, count); });
  if (path == own) unlink(own);
}
