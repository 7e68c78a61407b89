/* What numfiles charges: each kind of open file, one by one. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "beancounter/beancounter.h"
#include "descriptors.h"
#include "kernel_test.h"
#include "uring.h"

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

/* A static program that runs: the kernel holds its file, and nothing else of it. */
int run_static_program() {
  constexpr const char* kProgram = "/bin/busybox";
  if (::access(kProgram, X_OK) != 0) return kMissing;
  int started[2] = {-1, -1};
  if (::pipe2(started, O_CLOEXEC) != 0) return kMissing;
  if (::fork() == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execl(kProgram, "busybox", "sleep", "100", nullptr);
    ::_exit(1);
  }
  ::close(started[1]);
  char none = 0;
  if (::read(started[0], &none, 1) != 0) return kMissing; /* its end closes with the exec */
  return ::close(started[0]);
}

int shared_segment() {
  int id = ::shmget(IPC_PRIVATE, 4096, 0600);
  if (id < 0 || reinterpret_cast<std::intptr_t>(::shmat(id, nullptr, 0)) == -1) return kMissing;
  return ::shmctl(id, IPC_RMID, nullptr);
}

int anonymous_mapping(int flags) {
  return ::mmap(nullptr, 4096, PROT_READ, flags | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? kMissing
                                                                                      : 0;
}

int message_queue() {
  int queue = ::mq_open("/ctnbpf-test", O_RDWR | O_CREAT, 0600, nullptr);
  ::mq_unlink("/ctnbpf-test");
  return queue;
}

/* Sent and not received; no descriptor is left. */
int in_flight() {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return kMissing;
  int fd = ::eventfd(0, 0);
  if (!send_fd(pair[0], fd)) return kMissing;
  return ::close(fd);
}

int sent_and_received() {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return kMissing;
  if (!send_fd(pair[0], ::eventfd(0, 0))) return kMissing;
  return receive_fd(pair[1]);
}

int by_ring(Uring::Open how) {
  auto ring = Uring::make();
  if (!ring) return kMissing;
  int result = ring->open("/proc/self/stat", how);
  (void)ring.release(); /* the files stay until the process ends */
  return result;
}

/* Opens PATH of an overlayfs with one file and one directory, which are in its lower layer. */
int on_overlay(const char* path, int flags) {
  const std::string base = "/dev/shm/ctnbpf-overlay";
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return kMissing;
  ::mkdir(base.c_str(), 0700);
  if (::mount("tmpfs", base.c_str(), "tmpfs", 0, nullptr) != 0) return kMissing;
  for (const char* dir : {"/lower", "/lower/dir", "/upper", "/work", "/merged"})
    ::mkdir((base + dir).c_str(), 0700);
  ::close(::creat((base + "/lower/file").c_str(), 0600));
  std::string options =
      "lowerdir=" + base + "/lower,upperdir=" + base + "/upper,workdir=" + base + "/work";
  if (::mount("overlay", (base + "/merged").c_str(), "overlay", 0, options.c_str()) != 0)
    return kMissing;
  return ::open((base + "/merged/" + path).c_str(), flags);
}

struct Kind {
  const char* name;
  std::uint64_t charges;
  int (*make)();
  int by_open_gate = -1; /* from 6.19 on, if that differs: numfiles_gate.bpf.h */
};

const Kind kKinds[] = {
    {"open", 1, [] { return ::open("/proc/self/stat", O_RDONLY); }},
    {"openat2", 1, by_openat2},
    {"O_PATH", 1, [] { return ::open("/", O_PATH); }, 0},
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
    {"io_uring", 1, [] { return Uring::make().release() != nullptr ? 0 : kMissing; }},
    {"io_uring, opened by a worker", 2, [] { return by_ring(Uring::Open::kByWorker); }},
    {"io_uring, direct descriptor", 2, [] { return by_ring(Uring::Open::kDirect); }},
    {"fanotify", 1, [] { return ::fanotify_init(FAN_CLASS_NOTIF, O_RDONLY); }},
    {"message queue", 1, message_queue},
    {"terminal", 1, [] { return ::open("/dev/ptmx", O_RDWR | O_NOCTTY); }},
    {"shared segment (System V) and its attachment", 2, shared_segment},
    {"shared anonymous mapping", 1, [] { return anonymous_mapping(MAP_SHARED); }},
    {"private anonymous mapping", 0, [] { return anonymous_mapping(MAP_PRIVATE); }},
    {"running program", 1, run_static_program},
    {"in flight", 3, in_flight},
    {"SCM_RIGHTS", 3, sent_and_received},
    {"file on overlayfs", 1, [] { return on_overlay("file", O_RDONLY); }},
    {"file on overlayfs, copied up", 1, [] { return on_overlay("file", O_RDWR); }},
    /* As it is allocated the second file of a directory cannot be told from an ordinary one. */
    {"directory on overlayfs", 2, [] { return on_overlay("dir", O_RDONLY | O_DIRECTORY); }, 1},
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
  bool open_gate = ::access(pins().prog("l_file_open").c_str(), F_OK) == 0;
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    int expected =
        open_gate && kind.by_open_gate >= 0 ? kind.by_open_gate : static_cast<int>(kind.charges);
    Background child = start_in("default:/a", [&] {
      if (load(own.held) != 0) return 100;
      if (kind.make() < 0) return 101;
      /* What it closed on the way may be seen closed (as the end of a pipe) before it is freed. */
      (void)eventually([&] { return load(own.held) == static_cast<std::uint64_t>(expected); });
      return static_cast<int>(load(own.held));
    });
    int charged = child.wait();
    if (charged == 101)
      std::printf("%s: not on this kernel\n", kind.name);
    else
      EXPECT_EQ(charged, expected);
    EXPECT_TRUE(eventually([&] { return load(own.held) == 0; }));
  }
  ::unlink("/dev/shm/ctnbpf-test");
  ::rmdir("/dev/shm/ctnbpf-overlay");
}

}  // namespace
}  // namespace ctnbpf::test
