/* tasks_bench threads|children COUNT: a process that makes COUNT threads or children for each line on
 * its standard input, all idle, says `ready` then, and ends with its standard input. */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

[[noreturn]] void idle() {
  for (;;) pause();
}

void* idle_thread(void*) { idle(); }

bool make_thread() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_t thread;
  return pthread_create(&thread, &attributes, idle_thread, nullptr) == 0;
}

bool make_child() {
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    idle();
  }
  return pid > 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: tasks_bench threads|children COUNT\n");
    return 2;
  }
  bool threads = std::strcmp(argv[1], "threads") == 0;
  char line[32];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    for (int i = 0; i < std::atoi(argv[2]); i++)
      if (!(threads ? make_thread() : make_child())) {
        std::perror("tasks_bench");
        return 1;
      }
    std::puts("ready");
    std::fflush(stdout);
  }
  _exit(0);
}
