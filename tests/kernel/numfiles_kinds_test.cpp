/* What numfiles charges: each kind of open file, one by one. */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <unistd.h>

#include <cstdio>

#include "beancounter/beancounter.h"
#include "kernel_test.h"

namespace ctnbpf::test {
namespace {

constexpr int kMissing = -1; /* this kernel has no such thing */

int pidfd_of_self() { return static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)); }

int accept_one() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, 1) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return kMissing; /* the loopback device is down */
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  (void)::connect(client, reinterpret_cast<sockaddr*>(&address), size);
  return ::accept(listener, nullptr, nullptr);
}

int map_and_close() {
  int fd = ::memfd_create("mapped", 0);
  if (::ftruncate(fd, 4096) != 0) return kMissing;
  void* data = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return data == MAP_FAILED ? kMissing : 0;
}

int bpf_map() {
  bpf_attr attr = {};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = attr.value_size = 4;
  attr.max_entries = 1;
  return static_cast<int>(::syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

int perf_event() {
  perf_event_attr attr = {};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.size = sizeof(attr);
  attr.config = PERF_COUNT_SW_DUMMY;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

int ring() {
  io_uring_params params = {};
  return static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params));
}

int by_openat2() {
  std::uint64_t how[3] = {O_RDONLY, 0, 0};
  return static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/proc/self/stat", how, sizeof(how)));
}

int get_own_fd() {
  int self = pidfd_of_self();
  return static_cast<int>(::syscall(SYS_pidfd_getfd, self, self, 0));
}

int pair_of(int (*make)(int*)) {
  int ends[2] = {-1, -1};
  return make(ends) == 0 ? ends[0] : kMissing;
}

sigset_t* no_signals() {
  static sigset_t none;
  sigemptyset(&none);
  return &none;
}

struct Kind {
  const char* name;
  std::uint64_t charges;
  int (*make)();
};

const Kind kKinds[] = {
    {"open", 1, [] { return ::open("/proc/self/stat", O_RDONLY); }},
    {"openat2", 1, by_openat2},
    {"O_PATH", 1, [] { return ::open("/", O_PATH); }},
    {"directory", 1, [] { return ::open("/proc", O_RDONLY | O_DIRECTORY); }},
    {"O_TMPFILE", 1, [] { return ::open("/dev/shm", O_TMPFILE | O_RDWR, 0600); }},
    {"creat", 1, [] { return ::creat("/dev/shm/ctnbpf-test", 0600); }},
    {"pipe", 2, [] { return pair_of([](int* ends) { return ::pipe(ends); }); }},
    {"socketpair", 2,
     [] { return pair_of([](int* ends) { return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends); }); }},
    {"socket", 1, [] { return ::socket(AF_UNIX, SOCK_DGRAM, 0); }},
    {"listen, connect, accept", 3, accept_one},
    {"eventfd", 1, [] { return ::eventfd(0, 0); }},
    {"timerfd", 1, [] { return ::timerfd_create(CLOCK_MONOTONIC, 0); }},
    {"signalfd", 1, [] { return ::signalfd(-1, no_signals(), 0); }},
    {"epoll", 1, [] { return ::epoll_create1(0); }},
    {"inotify", 1, [] { return ::inotify_init(); }},
    {"memfd", 1, [] { return ::memfd_create("test", 0); }},
    {"pidfd", 1, pidfd_of_self},
    {"userfaultfd", 1, [] { return static_cast<int>(::syscall(SYS_userfaultfd, 0)); }},
    {"perf event", 1, perf_event},
    {"bpf map", 1, bpf_map},
    {"io_uring", 1, ring},
    {"mapping that outlives close", 1, map_and_close},
    {"dup", 1, [] { return ::dup(::eventfd(0, 0)); }},
    {"pidfd_getfd", 1, get_own_fd},
    {"fork", 1,
     [] {
       int fd = ::eventfd(0, 0);
       pid_t pid = ::fork();
       if (pid == 0) ::pause();
       ::kill(pid, SIGKILL);
       ::waitpid(pid, nullptr, 0);
       return fd;
     }},
};

class NumfilesKinds : public KernelTest {};

TEST_F(NumfilesKinds, EachIsChargedAsOftenAsItIsAFileAndGivenBack) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a");
  State mapped = state(); /* opened out here: its descriptors are files too */
  auto all = mapped.records<beans_state>("numfiles");
  ASSERT_TRUE(all.has_value()) << all.error().what;
  const beans_state& own = (*all)[slot("default:/a")];
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    Background child = start_in("default:/a", [&] {
      if (load(own.held) != 0) return 100;
      if (kind.make() < 0) return 101;
      return static_cast<int>(load(own.held));
    });
    int charged = child.wait();
    if (charged == 101)
      std::printf("%s: not on this kernel\n", kind.name);
    else
      EXPECT_EQ(charged, static_cast<int>(kind.charges));
    EXPECT_TRUE(eventually([&] { return load(own.held) == 0; }));
  }
  ::unlink("/dev/shm/ctnbpf-test");
}

}  // namespace
}  // namespace ctnbpf::test
