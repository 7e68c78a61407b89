/* Storms in which the kernel skips tracing programs, as it preempts tasks inside of them (preempt=lazy, the
 * default of Linux 7.x, and preempt=full): what must hold all the same. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "beancounter/beancounter.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/membership.h"
#include "kernel_test.h"
#include "numfiles/numfiles_ops.h"
#include "skipped_runs.h"
#include "storm.h"

namespace ctnbpf::test {
namespace {

/* What the storm's processes tell of themselves, in memory they share. */
struct Shared {
  std::atomic<long> there{0}; /* files that are surely open now */
  std::atomic<long> worst{0};
  std::atomic<long> made{0};
  std::atomic<long> refused{0};
  std::atomic<int> resting{0};
};

template <typename T>
class SharedMemory {
 public:
  SharedMemory()
      : memory_(
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
        data_(new (memory_) T) {}
  ~SharedMemory() { ::munmap(memory_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  T* operator->() const { return data_; }

 private:
  void* memory_;
  T* data_;
};

struct FileKind {
  const char* name;
  /* Makes what it makes and says how many files that is: their descriptors go to `fds`; 0: refused. */
  int (*make)(int* fds);
  bool strict; /* from 6.19 on too: never above the ceiling, not for a moment */
};

int one(int fd, int* fds) {
  fds[0] = fd;
  return fd >= 0 ? 1 : 0;
}

const FileKind kFileKinds[] = {
    {"sockets", [](int* fds) { return one(::socket(AF_UNIX, SOCK_DGRAM, 0), fds); }, true},
    {"pipes", [](int* fds) { return ::pipe(fds) == 0 ? 2 : 0; }, true},
    {"opens", [](int* fds) { return one(::open("/proc/self/stat", O_RDONLY), fds); }, true},
    {"memfds", [](int* fds) { return one(::memfd_create("storm", 0), fds); }, true},
    {"eventfds", [](int* fds) { return one(::eventfd(0, 0), fds); }, false},
    {"epolls", [](int* fds) { return one(::epoll_create1(0), fds); }, false},
    {"others",
     [](int* fds) {
       thread_local unsigned turn = 0;
       sigset_t none;
       sigemptyset(&none);
       switch (turn++ % 6) {
         case 0: return one(::timerfd_create(CLOCK_MONOTONIC, 0), fds);
         case 1: return one(::signalfd(-1, &none, 0), fds);
         case 2: return one(::inotify_init1(0), fds);
#ifdef SYS_eventfd /* calls that newer architectures never had */
         case 3: return one(static_cast<int>(::syscall(SYS_epoll_create, 1)), fds);
         case 4: return one(static_cast<int>(::syscall(SYS_eventfd, 0)), fds);
         case 5: return one(static_cast<int>(::syscall(SYS_inotify_init)), fds);
#endif
         default: return one(::epoll_create1(0), fds);
       }
     },
     false},
};

/* An overlayfs with a file in its lower layer, for as long as this lives. */
class Overlay {
 public:
  static constexpr const char* kFile = "/dev/shm/ctnbpf-overlay/merged/file";
  Overlay() {
    ::mkdir(base_.c_str(), 0700);
    mounted_ = ::mount("tmpfs", base_.c_str(), "tmpfs", 0, nullptr) == 0;
    for (const char* dir : {"/lower", "/upper", "/work", "/merged"})
      ::mkdir((base_ + dir).c_str(), 0700);
    ::close(::creat((base_ + "/lower/file").c_str(), 0600));
    std::string options =
        "lowerdir=" + base_ + "/lower,upperdir=" + base_ + "/upper,workdir=" + base_ + "/work";
    mounted_ = mounted_ &&
               ::mount("overlay", (base_ + "/merged").c_str(), "overlay", 0, options.c_str()) == 0;
  }
  ~Overlay() {
    ::umount2((base_ + "/merged").c_str(), MNT_DETACH);
    ::umount2(base_.c_str(), MNT_DETACH);
    ::rmdir(base_.c_str());
  }
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;
  bool is_mounted() const { return mounted_; }

 private:
  const std::string base_ = "/dev/shm/ctnbpf-overlay";
  bool mounted_ = false;
};

/* Each open makes a second file, of the kernel's own, which nobody is charged for. */
const FileKind kOnOverlay = {
    "overlay", [](int* fds) { return one(::open(Overlay::kFile, O_RDONLY), fds); }, true};

/* Opens as fast as it can and keeps all, until it is refused often enough; then it lets go of what it has. */
void open_as_fast_as_it_can(const FileKind& kind, Shared& shared, const std::atomic<bool>& go) {
  std::vector<int> mine;
  int refusals = 0;
  while (go) {
    int fds[2] = {-1, -1};
    int made = kind.make(fds);
    for (int i = 0; i < made; i++) mine.push_back(fds[i]);
    if (made != 0) {
      shared.made += made;
      long now = shared.there += made;
      long worst = shared.worst;
      while (now > worst && !shared.worst.compare_exchange_weak(worst, now)) {
      }
      continue;
    }
    shared.refused++;
    if (++refusals % 64 != 0) continue;
    for (; !mine.empty(); mine.pop_back()) {
      shared.there--;
      ::close(mine.back());
    }
  }
  shared.resting++; /* What is left stays open, to be counted. */
}

class Skipped : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto facts = kernel_facts();
    preempts_ = facts.preempts();
  }

  bool preempts() const { return preempts_; }

  bool loaded(const std::string& program) const {
    return ::access(pins().prog(program).c_str(), F_OK) == 0;
  }

  /* Six processes, or `threads` of one, below a ceiling. */
  void storm(const FileKind& kind, int processes, int threads, long ceiling) {
    SCOPED_TRACE(kind.name);
    create("default:/d", {"numfiles.ceiling=" + std::to_string(ceiling)});
    SharedMemory<Shared> shared;
    SharedMemory<std::atomic<bool>> go;
    *go.operator->() = true;
    std::uint64_t late = load(state().core().misses[CTN_MISS_FILE_LATE]);
    SkippedRuns skipped(pins());
    std::vector<Background> workers;
    for (int i = 0; i < processes; i++)
      workers.push_back(start_in("default:/d", [&] {
        std::vector<std::thread> more;
        for (int t = 1; t < threads; t++)
          more.emplace_back(
              [&] { open_as_fast_as_it_can(kind, *shared.operator->(), *go.operator->()); });
        open_as_fast_as_it_can(kind, *shared.operator->(), *go.operator->());
        for (std::thread& each : more) each.join();
        ::pause();
        return 0;
      }));
    EXPECT_FALSE(
        eventually([] { return false; }, std::chrono::milliseconds(500 * storm_seconds())));
    *go.operator->() = false;
    /* All of them have come to rest when nothing moves any more. */
    auto held = [&] { return static_cast<long>(number("default:/d", "numfiles.held")); };
    bool best_effort = loaded("a_file_alloc"); /* level fallback */
    bool all_seen = !best_effort || (loaded("k_file_init") && loaded("k_dentry_open"));
    EXPECT_TRUE(eventually([&] { return shared->resting == processes * threads; }));
    (void)eventually([&] { return held() == shared->there; }); /* freed is later than closed */
    if (all_seen) {
      EXPECT_EQ(held(), shared->there) << kind.name;
    }
    late = load(state().core().misses[CTN_MISS_FILE_LATE]) - late;
    std::printf(
        "%-9s %d x %d, ceiling %ld: worst %ld, at rest %ld, held %ld, made %ld, refused %ld, late %lu, "
        "skipped runs %lu: %s\n",
        kind.name, processes, threads, ceiling, shared->worst.load(), shared->there.load(), held(),
        shared->made.load(), shared->refused.load(), late, skipped.sum(), skipped.each().c_str());
    long most = kind.strict || late == 0 ? ceiling : ceiling + ceiling / 10;
    if (!best_effort) {
      EXPECT_LE(shared->worst, most);
    }
    if (all_seen) {
      EXPECT_LE(shared->worst, static_cast<long>(number("default:/d", "numfiles.maxheld")));
    }
    EXPECT_GT(shared->refused, 0) << "the ceiling was never reached";
    for (Background& worker : workers) worker.signal(SIGKILL);
    for (Background& worker : workers) worker.wait();
    EXPECT_TRUE(eventually([&] { return held() == 0; }));
    remove("default:/d");
  }

 private:
  bool preempts_ = false;
};

TEST_F(Skipped, SixProcessesDoNotPassAFileLimit) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  for (const FileKind& kind : kFileKinds) storm(kind, 6, 1, 50);
}

TEST_F(Skipped, ThreeThreadsDoNotPassAFileLimit) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  for (const FileKind& kind : kFileKinds) storm(kind, 1, 3, 20);
}

TEST_F(Skipped, FilesBelowOthersAreNobodysCharge) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  Overlay overlay;
  ASSERT_TRUE(overlay.is_mounted());
  storm(kOnOverlay, 6, 1, 50);
}

/* A refusal leaves nothing: no file that O_CREAT made, no half of a pipe, no charge. */
TEST_F(Skipped, WhatIsRefusedLeavesNothing) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/d", {"numfiles.ceiling=1"});
  Background child = start_in("default:/d", [] {
    int first = ::eventfd(0, 0);
    if (first < 0) return 1;
    if (::creat("/dev/shm/ctnbpf-refused", 0600) >= 0 || errno != ENFILE) return 2;
    if (::access("/dev/shm/ctnbpf-refused", F_OK) == 0) return 3;
    if (::open("/dev/shm", O_TMPFILE | O_RDWR, 0600) >= 0 || errno != ENFILE) return 4;
    int ends[2];
    ::close(first);
    if (::pipe(ends) == 0 || errno != ENFILE) return 5;
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 || errno != ENFILE) return 6;
    /* With room for one again, that much can be had: nothing of all that is still charged. */
    if (::creat("/dev/shm/ctnbpf-refused", 0600) < 0) return 7;
    ::unlink("/dev/shm/ctnbpf-refused");
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(eventually([&] { return number("default:/d", "numfiles.held") == 0; }));
}

/* What fails for another reason after it was charged, is charged no longer. */
TEST_F(Skipped, WhatFailsIsNotCharged) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/d");
  Background child = start_in("default:/d", [] {
    if (::eventfd(0, 0x40000000) >= 0 || ::epoll_create1(0x40000000) >= 0) return 1;
    if (::open("/proc/ctnbpf-nothing", O_CREAT | O_RDWR, 0600) >= 0) return 2;
    rlimit none = {0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 3;
    if (::socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 || ::eventfd(0, 0) >= 0) return 4;
    ::pause();
    return 0;
  });
  EXPECT_TRUE(eventually([&] { return number("default:/d", "tasks") == 1; }));
  EXPECT_TRUE(eventually([&] { return number("default:/d", "numfiles.minheld") == 0; }));
  EXPECT_TRUE(eventually([&] { return number("default:/d", "numfiles.held") == 0; }))
      << number("default:/d", "numfiles.held");
  child.signal(SIGKILL);
  child.wait();
}

/* A file that came with a member from outside is nobody's charge: fsck tells of it, and finds nothing wrong. */
TEST_F(Skipped, FsckTellsOfFilesThatNobodyIsChargedFor) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/d");
  auto remarks = [&] {
    auto writer = Writer::open(pins());
    if (!writer) return std::string();
    auto report = fsck(*writer, false);
    std::string all;
    if (report)
      for (const std::string& one : report->remarks) all += one;
    return all;
  };
  EXPECT_EQ(remarks(), "");
  Background child = start_in("default:/d", [] { return ::pause(); });
  EXPECT_NE(remarks().find("default:/d: its tasks have "), std::string::npos);
}

/* --- forks ------------------------------------------------------------------------------------- */

std::vector<pid_t> session_members(pid_t session) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    pid_t pid = std::stoi(name);
    if (::getsid(pid) == session) found.push_back(pid);
  }
  return found;
}

/* Every process of a bomb is a member, though the gate and newtask's program were skipped; and kill ends it. */
TEST_F(Skipped, EveryProcessOfABombIsAMemberAndKillEndsIt) {
  create("default:/bomb");
  constexpr int kForkers = 6;
  constexpr int kMost = 250;
  SharedMemory<std::atomic<int>> born;
  SkippedRuns skipped(pins());
  Background bomb = start_in("default:/bomb", [&] {
    ::setsid();
    std::atomic<int>& count = *born.operator->();
    for (int i = 0; i < kForkers; i++)
      if (::fork() == 0)
        for (;;) {
          if (::fork() != 0) { /* some stay, most end at once */
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {
            }
            continue;
          }
          if (count++ % 16 != 0 || count / 16 >= kMost) ::_exit(0);
          for (;;) ::pause();
        }
    for (;;) ::pause();
    return 0;
  });
  EXPECT_FALSE(eventually([] { return false; }, std::chrono::seconds(storm_seconds())));
  /* At rest: nobody forks any more. */
  ::kill(-bomb.pid(), SIGSTOP);
  std::vector<pid_t> there;
  EXPECT_TRUE(eventually([&] {
    auto again = session_members(bomb.pid());
    bool same = again == there;
    there = again;
    return same && !there.empty();
  }));
  std::uint64_t counted = 0;
  std::size_t inside = 0;
  for (pid_t pid : there) {
    auto task = walk_tasks(pins(), pid);
    if (task && task->size() == 1 && container_of((*task)[0], 0) == slot("default:/bomb")) inside++;
  }
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    counted = number("default:/bomb", "numtasks.current");
    return counted == session_members(bomb.pid()).size();
  })) << counted;
  std::printf(
      "a bomb: %d forks, %zu processes, %zu of them members, counted %lu, backstop %lu, skipped "
      "runs %lu: %s\n",
      born->load(), there.size(), inside, counted,
      static_cast<std::uint64_t>(load(state().core().misses[CTN_MISS_BACKSTOP_FORK])),
      skipped.sum(), skipped.each().c_str());
  EXPECT_EQ(inside, there.size());
  ::kill(-bomb.pid(), SIGCONT);
  pid_t session = bomb.pid();
  Output killed = ctnbpf({"kill", "default:/bomb"});
  EXPECT_EQ(killed.code, 0) << killed.err;
  bomb.wait();
  EXPECT_TRUE(eventually([&] { return session_members(session).empty(); }));
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return number("default:/bomb", "numtasks.current") == 0;
  }));
}

}  // namespace
}  // namespace ctnbpf::test
