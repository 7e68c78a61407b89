/* drift_bench forks|opens COUNT: eight processes that fork (and wait for the child), or open files of
 * every kind, pass some to each other and close them, COUNT times in all. Says `started` when all
 * eight are there, begins with a line on its standard input, says `done` when they are, and ends with
 * its standard input. What is refused is tried again. */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "descriptors.h"

namespace {

using ctnbpf::test::receive_fd;
using ctnbpf::test::send_fd;

constexpr int kWorkers = 8;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void fork_once() {
  pid_t pid = -1;
  while ((pid = fork()) < 0) usleep(100);
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
}

/* One of each kind in turn; a pipe is two. */
int open_one(int kind, int* second) {
  int two[2] = {-1, -1};
  switch (kind) {
    case 0: return open("/dev/null", O_RDONLY);
    case 1: return open("/dev/shm", O_PATH);
    case 2: return eventfd(0, 0);
    case 3: return epoll_create1(0);
    case 4: return memfd_create("drift", 0);
    case 5: return socket(AF_UNIX, SOCK_STREAM, 0);
    case 6: return open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
    default:
      if (pipe(two) != 0) return -1;
      *second = two[1];
      return two[0];
  }
}

/* Without waiting: what does not go is closed by its opener, what does not come is not there. */
void pass(int channel, int fd) { send_fd(channel, fd, MSG_DONTWAIT); }

void take(int channel) {
  for (int fd = -1; (fd = receive_fd(channel, MSG_DONTWAIT)) >= 0;) close(fd);
}

void open_many(int count, int channel) {
  for (int i = 0; i < count; i++) {
    int second = -1;
    int fd = open_one(i % 8, &second);
    if (fd < 0) continue;
    int copy = dup(fd);
    if (i % 16 < 8) pass(channel, fd);
    close(fd);
    if (copy >= 0) close(copy);
    if (second >= 0) close(second);
    if (i % 4 == 0) take(channel);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: drift_bench forks|opens COUNT\n");
    return 2;
  }
  bool forks = std::strcmp(argv[1], "forks") == 0;
  int each = std::atoi(argv[2]) / kWorkers;
  int begin[2];
  int done[2];
  int channels[kWorkers];
  if (pipe(begin) != 0 || pipe(done) != 0) die("drift_bench: pipe");
  for (int i = 0; i < kWorkers; i += 2) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0) die("drift_bench: socketpair");
    channels[i] = pair[0];
    channels[i + 1] = pair[1];
  }
  for (int i = 0; i < kWorkers; i++) {
    pid_t pid = fork();
    if (pid < 0) die("drift_bench: fork");
    if (pid > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte = 0;
    if (read(begin[0], &byte, 1) != 1) die("drift_bench: begin");
    if (forks)
      for (int n = 0; n < each; n++) fork_once();
    else
      open_many(each, channels[i]);
    take(channels[i]);
    if (write(done[1], &byte, 1) != 1) die("drift_bench: done");
    for (;;) {
      take(channels[i]); /* what the other one passed at last */
      usleep(10000);
    }
  }
  std::puts("started");
  std::fflush(stdout);
  if (std::getchar() == EOF) return 1;
  char go[kWorkers] = {};
  if (write(begin[1], go, kWorkers) != kWorkers) die("drift_bench: begin");
  for (int i = 0; i < kWorkers; i++)
    if (read(done[0], go, 1) != 1) die("drift_bench: done");
  std::puts("done");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}
