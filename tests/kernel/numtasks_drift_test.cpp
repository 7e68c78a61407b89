/* Counters after many forks while tasks are moved and containers made, renamed and removed: each is what
 * a walk over the tasks finds, and no limit was ever exceeded. */
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "ctnbpf/fsck.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "kernel_test.h"

namespace ctnbpf::test {
namespace {

constexpr int kForkers = 8;
constexpr unsigned kLimit = 20;

/* Forks let in before it ends; `CTNBPF_DRIFT_FORKS=100000` for the long form. */
long forks_in_all() {
  const char* text = std::getenv("CTNBPF_DRIFT_FORKS");
  return text != nullptr ? std::atol(text) : 2000;
}

/* Rung by many, heard by many. Ringing never waits; a ring that nobody waits for is kept. */
struct Bell {
  int heard = -1;
  int rung = -1;

  Bell() {
    int ends[2] = {};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    heard = ends[0];
    rung = ends[1];
  }
  void ring() const { (void)!::write(rung, "", 1); }
  /* A ring for this one, or for nobody after `ms`. */
  void wait(int ms) const {
    pollfd one = {heard, POLLIN, 0};
    char byte = 0;
    if (::poll(&one, 1, ms) == 1) (void)!::read(heard, &byte, 1);
  }
};

/* Shares the memory of its parent, which is not copied then: many more come and go in the same time. */
pid_t quick_fork(std::array<char, 16384>& stack) {
  auto end = [](void*) -> int { ::_exit(0); };
  return ::clone(end, stack.data() + stack.size(), CLONE_VM | SIGCHLD, nullptr);
}

/* Three at a time, so that all together want more than the limit. Who is refused waits until one of its
 * own is reaped; if it has none, until another's is. A move may leave room too and rings nothing, so it
 * tries again after a while. */
int forker(long forks, const Bell& reaped, const Bell& progress) {
  alignas(16) std::array<std::array<char, 16384>, 2> stacks;
  for (long done = 0; done < forks;) {
    int own = 0;
    int failed = 0;
    while (own < 3 && failed == 0) {
      pid_t pid = own < 2 ? quick_fork(stacks[static_cast<std::size_t>(own)]) : ::fork();
      if (pid == 0) ::_exit(0);
      if (pid > 0)
        own++;
      else
        failed = errno;
    }
    if (failed != 0 && failed != EAGAIN) return 1;
    if (own == 0) reaped.wait(20);
    for (; own > 0; own--, done++) {
      if (::wait(nullptr) < 0) return 2;
      reaped.ring();
      if (done % 16 == 0) progress.ring();
    }
  }
  return 0;
}

class NumtasksDrift : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }

  /* One of each change, somewhere below /a. */
  void disturb(unsigned i, pid_t pid) {
    const char* places[] = {"default:/a", "default:/a/x", "default:/a/y"};
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    Slot to = *tree::find(*writer, places[i % 3]);
    (void)attach(*writer, to, pid, false); /* it may have ended */
    if (i % 4 != 0) return;
    auto extra = tree::create(*writer, to, "extra");
    ASSERT_TRUE(extra.has_value()) << extra.error().what;
    (void)attach(*writer, *extra, pid, false);
    ASSERT_TRUE(tree::rename(*writer, *extra, "renamed").has_value());
    ASSERT_TRUE(tree::remove(*writer, *extra, true).has_value());
    (void)attach(*writer, to, pid, false);
  }
};

TEST_F(NumtasksDrift, NoneAfterManyForksUnderMovesRenamesAndRemovals) {
  set("default:/", {"numtasks.total_numtasks=30"});
  create("default:/a",
         {"numtasks.limit=" + std::to_string(kLimit), "numtasks.shares=min_shares=40"});
  create("default:/a/x", {"numtasks.shares=min_shares=50", "numtasks.forkrate=4000000"});
  create("default:/a/y", {"numtasks.limit=7"});
  Bell reaped;
  Bell progress;
  int gate[2]; /* an attach is not refused, so nobody forks before all are there */
  ASSERT_EQ(::pipe2(gate, O_CLOEXEC), 0);
  std::vector<Background> forkers;
  for (int i = 0; i < kForkers; i++)
    forkers.push_back(start_in(i % 2 == 0 ? "default:/a/x" : "default:/a/y", [&] {
      char go = 0;
      return ::read(gate[0], &go, 1) == 1 ? forker(forks_in_all() / kForkers, reaped, progress) : 3;
    }));
  const std::string go(kForkers, 'g');
  ASSERT_EQ(::write(gate[1], go.data(), go.size()), static_cast<ssize_t>(go.size()));
  ::close(gate[0]);
  ::close(gate[1]);
  ::close(progress.rung); /* all have ended when nobody can ring any more */
  unsigned moves = 0;
  for (pollfd told = {progress.heard, POLLIN, 0}; ::poll(&told, 1, -1) == 1; moves++) {
    char rings[4096]; /* however many there were during the last move */
    if (::read(progress.heard, rings, sizeof(rings)) == 0) break;
    disturb(moves, forkers[moves % kForkers].pid());
  }
  for (Background& one : forkers) EXPECT_EQ(one.wait(), 0);
  EXPECT_GT(moves, 4u); /* two removals at least */
  for (const char* place : {"default:/a", "default:/a/x", "default:/a/y"})
    EXPECT_TRUE(eventually([&] { return number(place, "numtasks.current") == 0; })) << place;
  EXPECT_TRUE(eventually([&] { return number("default:/", "numtasks.borrowed") == 0; }));
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
  EXPECT_GT(number("default:/a", "numtasks.events"), 0u) << "the limit was never met";
  if (level() == CTN_LEVEL_STRICT) {
    EXPECT_LE(number("default:/a", "numtasks.peak"), kLimit);
  }
  auto writer = Writer::open(pins());
  auto report = fsck(*writer, false);
  ASSERT_TRUE(report.has_value());
  for (const std::string& one : report->problems) ADD_FAILURE() << one;
  std::printf("%ld forks, %u moves: drift 0, peak %llu of %u, %llu refused\n", forks_in_all(),
              moves, static_cast<unsigned long long>(number("default:/a", "numtasks.peak")), kLimit,
              static_cast<unsigned long long>(number("default:/a", "numtasks.events")));
}

}  // namespace
}  // namespace ctnbpf::test
