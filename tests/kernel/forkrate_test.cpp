/* Fork rates over real forks. The algorithm itself is tested in subsystems/numtasks/forkrate_test.cpp. */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctnbpf/events.h"
#include "containers/parts.h"
#include "kernel_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

std::uint64_t now_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

struct Fork {
  std::uint64_t before;
  std::uint64_t after;
};

/* Forks for `seconds` as fast as it can; those that were let in. */
std::vector<Fork> fork_for(int seconds) {
  std::vector<Fork> log;
  for (std::uint64_t end = now_ns() + static_cast<std::uint64_t>(seconds) * 1'000'000'000;
       now_ns() < end;) {
    std::uint64_t before = now_ns();
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    if (pid < 0) continue;
    log.push_back({before, now_ns()});
    ::waitpid(pid, nullptr, 0);
  }
  return log;
}

/* Most forks that lie wholly in one interval. */
std::size_t most_within(const std::vector<Fork>& log, std::uint64_t interval) {
  std::size_t most = 0;
  for (std::size_t first = 0; first < log.size(); first++) {
    std::size_t last = first;
    while (last < log.size() && log[last].after - log[first].before < interval) last++;
    most = std::max(most, last - first);
  }
  return most;
}

class ForkRate : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }
};

TEST_F(ForkRate, RefusesWithEagainOverTheRateAndCountsApart) {
  create("default:/a", {"numtasks.forkrate=5/60"});
  EXPECT_EQ(number("default:/a", "numtasks.forkrate"), 5u);
  EXPECT_EQ(number("default:/a", "numtasks.forkrate_interval"), 60u);
  auto reader = EventReader::open(pins(), EventReader::From::kNow);
  ASSERT_TRUE(reader.has_value());
  Background child = start_in("default:/a", [] {
    long failed = fork_and_reap(8L);
    return failed == 3 && Sleepers(1).failed() == EAGAIN ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.rate_failures"), 4u);
  EXPECT_EQ(number("default:/a", "numtasks.rate_events"), 4u);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 0u);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 0u);
  auto event = reader->next();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->kind, std::uint32_t{CTN_EVENT_FORK_RATE});
  EXPECT_EQ(event->by_slot, slot("default:/a"));
}

/* One forker as fast as it can: no second, wherever it begins, has more; and the rate gets through. */
TEST_F(ForkRate, NoIntervalHoldsMoreWhereverItBegins) {
  create("default:/a", {"numtasks.forkrate=20"});
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background child = start_in("default:/a", [&] {
    std::vector<Fork> log = fork_for(4);
    std::size_t figures[2] = {most_within(log, 1'000'000'000), log.size()};
    (void)!::write(out[1], figures, sizeof(figures));
    return 0;
  });
  std::size_t figures[2] = {};
  ASSERT_EQ(::read(out[0], figures, sizeof(figures)), static_cast<ssize_t>(sizeof(figures)));
  child.wait();
  if (level() == CTN_LEVEL_STRICT) {
    EXPECT_LE(figures[0], 20u);
  }
  EXPECT_GE(figures[1], 20u * 4 * 15 / 16 - 5);
}

TEST_F(ForkRate, AnAncestorsRateBindsTheSubtreeAsAWhole) {
  create("default:/a", {"numtasks.forkrate=6/60"});
  create("default:/a/b", {"numtasks.forkrate=100/60"});
  create("default:/a/c");
  EXPECT_EQ(start_in("default:/a/b", [] { return fork_and_reap(4L) == 0 ? 0 : 1; }).wait(), 0);
  EXPECT_EQ(start_in("default:/a/c", [] { return fork_and_reap(4L) == 2 ? 0 : 1; }).wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.rate_events"), 2u);
  EXPECT_EQ(number("default:/a", "numtasks.rate_failures"), 0u);
  EXPECT_EQ(number("default:/a/c", "numtasks.rate_failures"), 2u);
  EXPECT_EQ(number("default:/a/c", "numtasks.rate_events"), 0u);
  /* Born later, and below: it counts there too. */
  create("default:/a/c/d");
  EXPECT_EQ(start_in("default:/a/c/d", [] { return fork_and_reap(1L) == 1 ? 0 : 1; }).wait(), 0);
}

/* What an ancestor refuses does not use up the rate below it. */
TEST_F(ForkRate, ARefusalAboveCostsNothingBelow) {
  create("default:/a", {"numtasks.forkrate=2/60"});
  create("default:/a/b", {"numtasks.forkrate=10/60"});
  Background child = start_in("default:/a/b", [&] { return fork_and_reap(30L) == 28 ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
  set("default:/a", {"numtasks.forkrate=max"});
  EXPECT_EQ(start_in("default:/a/b", [] { return fork_and_reap(20L) == 12 ? 0 : 1; }).wait(), 0);
}

/* A fork that a limit refuses is not counted as one. */
TEST_F(ForkRate, ALimitsRefusalDoesNotUseUpTheRate) {
  create("default:/a", {"numtasks.forkrate=10/60", "numtasks.limit=2"});
  Background child = start_in("default:/a", [] {
    for (int i = 0; i < 5; i++)
      if (Sleepers some(2); some.count() != 1 || some.failed() != EAGAIN) return 1;
    return fork_and_reap(10L) == 5 ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 5u);
  EXPECT_EQ(number("default:/a", "numtasks.rate_failures"), 5u);
  EXPECT_EQ(number("default:/a", "numtasks.current"), 0u);
  EXPECT_LE(number("default:/a", "numtasks.peak"), 2u) << "a refused fork leaves no trace";
}

TEST_F(ForkRate, SetAndUnsetWhileTasksRun) {
  create("default:/a");
  create("default:/a/b");
  auto forks = [&](long count) {
    std::array<int, 2> out = {};
    EXPECT_EQ(::pipe(out.data()), 0);
    Background child = start_in("default:/a/b", [&] {
      long failed = fork_and_reap(count);
      (void)!::write(out[1], &failed, sizeof(failed));
      return 0;
    });
    long failed = -1;
    EXPECT_EQ(::read(out[0], &failed, sizeof(failed)), static_cast<ssize_t>(sizeof(failed)));
    ::close(out[0]);
    ::close(out[1]);
    return failed;
  };
  EXPECT_EQ(forks(10), 0);
  set("default:/a", {"numtasks.forkrate=3", "numtasks.forkrate_interval=60"});
  EXPECT_EQ(forks(10), 7);
  set("default:/a", {"numtasks.forkrate=5"}); /* what was let in still counts */
  EXPECT_EQ(forks(10), 8);
  set("default:/a", {"numtasks.forkrate=max"});
  EXPECT_EQ(forks(10), 0);
  set("default:/a", {"numtasks.forkrate=0"});
  EXPECT_EQ(forks(3), 3);
}

TEST_F(ForkRate, ADeepTreeLooksAtEveryLevel) {
  std::string path = "default:";
  for (int depth = 1; depth <= 200; depth++) {
    path += "/d";
    create(path, depth % 50 == 1 ? std::vector<std::string>{"numtasks.forkrate=" +
                                                            std::to_string(200 / depth + 2) + "/60"}
                                 : std::vector<std::string>{});
  }
  EXPECT_EQ(start_in(path, [] { return fork_and_reap(10L) == 7 ? 0 : 1; }).wait(), 0)
      << "3 at depth 151";
}

TEST_F(ForkRate, SeveralForkersAtOnceStayWithinIt) {
  create("default:/a", {"numtasks.forkrate=40/60"});
  std::vector<Background> forkers;
  for (int i = 0; i < 4; i++)
    forkers.push_back(
        start_in("default:/a", [] { return static_cast<int>(200 - fork_and_reap(200L)); }));
  int let_in = 0;
  for (Background& one : forkers) let_in += one.wait();
  if (level() == CTN_LEVEL_STRICT) {
    EXPECT_EQ(let_in, 40);
  }
  EXPECT_EQ(number("default:/a", "numtasks.rate_failures"), 800u - static_cast<unsigned>(let_in));
}

}  // namespace
}  // namespace ctnbpf::test
