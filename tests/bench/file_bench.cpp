/* file_bench [ROUNDS [READS [PATH]]]: the cost of open, read and close of PATH by one process, in nanoseconds of the
 * clock (in guest instructions under `scripts/vm --icount`). Prints the figure of each round, one a line. */
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "rounds.h"

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  int reads = argc > 2 ? std::atoi(argv[2]) : 10000;
  const char* path = argc > 3 ? argv[3] : "/proc/self/comm";
  print_rounds(rounds, reads, 0, [path](int count) {
    char text[4096];
    for (int i = 0; i < count; i++) {
      int fd = open(path, O_RDONLY);
      if (fd < 0 || read(fd, text, sizeof(text)) < 0) {
        std::perror(path);
        std::exit(1);
      }
      close(fd);
    }
  });
}
