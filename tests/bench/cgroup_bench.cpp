/* cgroup_bench cycle DIR COUNT   makes COUNT cgroups below DIR and removes them
 * cgroup_bench read DIR COUNT    reads pids.current, pids.events and cpu.stat of the COUNT cgroups there
 * cgroup_bench make|remove DIR COUNT   the halves of cycle
 * cgroup_bench move DIR PID      moves a process into the cgroup DIR
 * cgroup_bench kill DIR          kills all in the cgroup DIR and waits until they are gone
 *
 * What scripts/bench compares ctnbpf with: the same jobs, done with the kernel's own controllers by one
 * process that makes no more system calls than it takes. */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void die(const std::string& what) {
  std::perror(("cgroup_bench: " + what).c_str());
  std::exit(1);
}

std::string group(const std::string& dir, int number) { return dir + "/" + std::to_string(number); }

/* Into `text`, which ends with a zero. */
void read_file(const std::string& path, char* text, std::size_t size) {
  int fd = open(path.c_str(), O_RDONLY);
  ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
  if (got < 0) die(path);
  text[got] = '\0';
  close(fd);
}

void write_file(const std::string& path, const std::string& text) {
  int fd = open(path.c_str(), O_WRONLY);
  if (fd < 0 || write(fd, text.data(), text.size()) < 0) die(path);
  close(fd);
}

void make(const std::string& dir, int count) {
  for (int i = 0; i < count; i++)
    if (mkdir(group(dir, i).c_str(), 0755) != 0) die(group(dir, i));
}

void remove(const std::string& dir, int count) {
  for (int i = 0; i < count; i++)
    if (rmdir(group(dir, i).c_str()) != 0) die(group(dir, i));
}

void read_all(const std::string& dir, int count) {
  char text[4096];
  for (int i = 0; i < count; i++)
    for (const char* file : {"/pids.current", "/pids.events", "/cpu.stat"}) {
      read_file(group(dir, i) + file, text, sizeof(text));
      std::printf("%s", text);
    }
}

void kill_all(const std::string& dir) {
  char text[256];
  write_file(dir + "/cgroup.kill", "1");
  int fd = open((dir + "/cgroup.events").c_str(), O_RDONLY);
  if (fd < 0) die(dir);
  for (;;) {
    ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
    if (got < 0) die(dir);
    text[got] = '\0';
    if (std::strstr(text, "populated 0") != nullptr) return;
    pollfd changed = {.fd = fd, .events = POLLPRI, .revents = 0};
    poll(&changed, 1, -1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string verb = argc > 2 ? argv[1] : "";
  std::string dir = argc > 2 ? argv[2] : "";
  int number = argc > 3 ? std::atoi(argv[3]) : 0;
  if (verb == "cycle") {
    make(dir, number);
    remove(dir, number);
  } else if (verb == "make") {
    make(dir, number);
  } else if (verb == "remove") {
    remove(dir, number);
  } else if (verb == "read") {
    read_all(dir, number);
  } else if (verb == "move") {
    write_file(dir + "/cgroup.procs", std::to_string(number));
  } else if (verb == "kill") {
    kill_all(dir);
  } else {
    std::fprintf(stderr, "usage: cgroup_bench cycle|make|remove|read|move|kill DIR [NUMBER]\n");
    return 2;
  }
  return 0;
}
