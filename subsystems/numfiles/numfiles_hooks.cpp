/* How the hooks of numfiles are fired, and which gate and level they come to. */
#include "numfiles/numfiles_hooks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <string>

#include "numfiles/numfiles_ops.h"

namespace ctnbpf {
namespace {

constexpr const char* kOpenGate[] = {"l_file_open",  "l_inode_create", "l_inode_alloc",
                                     "l_inode_free", "l_sock_create",  "k_file_init"};

bool frees_are_seen(const Levels& levels) {
  return levels.works("l_file_free") || levels.works("f_file_free");
}

}  // namespace

FileGate numfiles_gate(const Levels& levels) {
  if (levels.task() < CTN_LEVEL_FALLBACK || !frees_are_seen(levels)) return FileGate::kNone;
  bool strict = levels.works("l_file_free");
  if (strict && levels.works("l_file_alloc")) return FileGate::kAlloc;
  if (strict && std::all_of(std::begin(kOpenGate), std::end(kOpenGate),
                            [&](const char* program) { return levels.works(program); }))
    return FileGate::kOpen;
  return levels.works("f_file_alloc") ? FileGate::kAlloc : FileGate::kNone;
}

namespace hooks {
namespace {

bool numfiles_gate_is_alloc(const Levels& levels) {
  return numfiles_gate(levels) == FileGate::kAlloc;
}
bool numfiles_gate_is_open(const Levels& levels) {
  return numfiles_gate(levels) == FileGate::kOpen;
}
/* What its gate let pass, as it was skipped, is charged all the same. */
bool numfiles_gate_needs_init(const Levels& levels) {
  return numfiles_gate_is_open(levels) ||
         (levels.skips && levels.level[CTN_HOOKS_FILE] == CTN_LEVEL_FALLBACK);
}

bool close_made(long fd) {
  if (fd >= 0) ::close(static_cast<int>(fd));
  return fd >= 0;
}

bool open_and_close() { return close_made(::eventfd(0, EFD_CLOEXEC)); }

bool pipe_and_close() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  ::close(ends[0]);
  ::close(ends[1]);
  return true;
}

bool socket_and_close() { return close_made(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }

/* In the first of these places that has room for an empty file, which goes again. */
bool create_and_close() {
  for (const char* place : {"/dev/shm", "/run", "/tmp"}) {
    std::string path = fmt::format("{}/.ctnbpf-probe-{}", place, ::getpid());
    int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* A refusal to open it comes when it is there already. */
    if (fd >= 0 || errno != EEXIST) ::unlink(path.c_str());
    if (fd < 0) continue;
    ::close(fd);
    return true;
  }
  return false;
}

bool perf_and_close() {
  perf_event_attr attr = {};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.size = sizeof(attr);
  attr.config = PERF_COUNT_SW_DUMMY;
  return close_made(::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

/* By the calls of CTN_SPECIAL_FILES. */
sigset_t no_signals() {
  sigset_t none;
  sigemptyset(&none);
  return none;
}
constexpr std::size_t kSigsetSize = 8; /* the kernel's */
bool make_by_eventfd2() { return close_made(::syscall(SYS_eventfd2, 0, 0)); }
bool make_by_epoll_create1() { return close_made(::syscall(SYS_epoll_create1, 0)); }
bool make_by_timerfd_create() {
  return close_made(::syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0));
}
bool make_by_inotify_init1() { return close_made(::syscall(SYS_inotify_init1, 0)); }
bool make_by_signalfd4() {
  sigset_t none = no_signals();
  return close_made(::syscall(SYS_signalfd4, -1, &none, kSigsetSize, 0));
}
#ifdef SYS_eventfd
bool make_by_eventfd() { return close_made(::syscall(SYS_eventfd, 0)); }
bool make_by_epoll_create() { return close_made(::syscall(SYS_epoll_create, 1)); }
bool make_by_inotify_init() { return close_made(::syscall(SYS_inotify_init)); }
bool make_by_signalfd() {
  sigset_t none = no_signals();
  return close_made(::syscall(SYS_signalfd, -1, &none, kSigsetSize));
}
#endif

constexpr Better kStrictFile = {"l_file_alloc", "l_file_free"};

constexpr Hook kRows[] = {CTN_NUMFILES_HOOKS(CTN_HOOK_ROW, CTN_GATE_ROW, CTN_COPY_ROW)};

/* The level of each group from its own hooks. */
void find_levels(Levels& levels) {
  if (levels.works("l_file_free"))
    levels.level[CTN_HOOKS_FILE_FREE] = CTN_LEVEL_STRICT;
  else if (levels.works("f_file_free"))
    levels.level[CTN_HOOKS_FILE_FREE] = CTN_LEVEL_FALLBACK;
  bool by_lsm = levels.works("l_file_free") && levels.works("l_file_alloc");
  switch (numfiles_gate(levels)) {
    case FileGate::kNone: break;
    case FileGate::kOpen: levels.level[CTN_HOOKS_FILE] = CTN_LEVEL_STRICT; break;
    case FileGate::kAlloc:
      levels.level[CTN_HOOKS_FILE] = by_lsm ? CTN_LEVEL_STRICT : CTN_LEVEL_FALLBACK;
  }
}

}  // namespace

const HookTable kNumfilesHooks{kRows, find_levels};

}  // namespace hooks
}  // namespace ctnbpf
