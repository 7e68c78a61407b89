/* Everything at once: storms of forks, exits, moves and removals, and what must hold meanwhile. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_test.h"
#include "loader.h"
#include "storm.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Storm : public KernelTest {
 protected:
  /* Where the kernel may skip the gate (level fallback under preempt=full) the limit is best effort;
   * everywhere else it is never exceeded. */
  bool exact() const { return level() == CTN_LEVEL_STRICT || kernel_facts().preempt != "full"; }

  bool back_to_zero(const std::string& address) {
    return eventually([&] {
      free_dead_tasks();
      return number(address, "numtasks.current") == 0 && number(address, "tasks") == 0;
    });
  }
};

TEST_F(Storm, ForkBombIsHeldAtTheLimitAndTheRestOfTheMachineForksFreely) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/bomb", {"numtasks.limit=16"});
  Background bomb = start_in("default:/bomb", [] {
    fork_bomb(8, storm_seconds());
    return 0;
  });
  State mapped = state();
  Slot at = slot("default:/bomb");
  const Subsystem* numtasks = find_subsystem("numtasks");
  std::atomic<std::uint64_t> highest{0};
  Repeating watch([&] {
    auto figures = numtasks->figures(mapped, at);
    if (figures && figures->current > highest) highest = figures->current;
  });
  long failed = 0;
  long outside = 0;
  pid_t pid = bomb.pid();
  while (::waitpid(pid, nullptr, WNOHANG) == 0) {
    failed += fork_and_reap(10L);
    outside += 10;
  }
  watch.stop();
  EXPECT_EQ(failed, 0) << "forks outside that failed";
  EXPECT_GT(outside, 0);
  if (exact()) {
    EXPECT_LE(highest, 16u) << "seen by a reader at some moment";
    EXPECT_EQ(number("default:/bomb", "numtasks.peak"), 16u);
  } else if (number("default:/bomb", "numtasks.peak") > 16) {
    EXPECT_GT(load(state().core().misses[CTN_MISS_BACKSTOP_FORK]), 0u)
        << "a skipped gate is counted";
  }
  EXPECT_GT(number("default:/bomb", "numtasks.events"), 0u);
  EXPECT_TRUE(back_to_zero("default:/bomb"));
  EXPECT_EQ(fork_and_reap(1000L), 0);
}

/* Moves, renames and removals against forkers, then: nothing drifts. */
TEST_F(Storm, NoDriftUnderForksMovesRenamesAndRemovals) {
  create("default:/a");
  create("default:/a/x");
  create("default:/b", {});
  std::vector<Background> forkers;
  for (int i = 0; i < 8; i++)
    forkers.push_back(start_in(i % 2 == 0 ? "default:/a/x" : "default:/b", [] {
      time_t end = ::time(nullptr) + storm_seconds();
      fork_and_reap([&] { return ::time(nullptr) < end; });
      return 0;
    }));
  time_t end = ::time(nullptr) + storm_seconds();
  for (int i = 0; ::time(nullptr) < end; i++) {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto to = tree::find(*writer, i % 3 == 0   ? "default:/a"
                                  : i % 3 == 1 ? "default:/b"
                                               : "default:/a/x");
    ASSERT_TRUE(to.has_value()) << to.error().what;
    (void)attach(*writer, *to, forkers[static_cast<std::size_t>(i) % forkers.size()].pid(), false);
    auto extra = tree::create(*writer, *to, "extra");
    ASSERT_TRUE(extra.has_value()) << extra.error().what;
    ASSERT_TRUE(tree::rename(*writer, *extra, "other").has_value());
    (void)attach(*writer, *extra, forkers[static_cast<std::size_t>(i + 3) % forkers.size()].pid(),
                 false);
    auto gone = tree::remove(*writer, *extra, true);
    ASSERT_TRUE(gone.has_value()) << gone.error().what;
  }
  for (Background& one : forkers) one.wait();
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_TRUE(back_to_zero("default:/b"));
  EXPECT_EQ(number("default:/a/x", "numtasks.current"), 0u);
}

TEST_F(Storm, KillNineInTheMiddleLeavesNoCharge) {
  create("default:/a");
  for (int round = 0; round < 10; round++) {
    Background forker = start_in("default:/a", [] {
      ::setpgid(0, 0);
      for (;;) {
        pid_t pid = ::fork();
        if (pid == 0) {
          fork_and_reap(3L);
          ::_exit(0);
        }
        ::waitpid(-1, nullptr, WNOHANG);
      }
      return 0;
    });
    EXPECT_TRUE(eventually([&] { return number("default:/a", "numtasks.peak") > 2; }));
    while (::kill(-forker.pid(), SIGKILL) == 0 && number("default:/a", "tasks") != 0) {
    }
  }
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(Storm, AFullTaskTableRefusesMembersAndNobodyElse) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(take_down(pins(), true).has_value());
  LoadSettings small;
  small.max_tasks = 64;
  ASSERT_TRUE(bring_up(pins(), small).has_value());
  create("default:/a");
  std::array<int, 2> full = {};
  ASSERT_EQ(::pipe(full.data()), 0);
  Background members = start_in("default:/a", [&] {
    Sleepers some(400);
    char ok = some.failed() == EAGAIN && some.count() >= 64 ? 'f' : 'x';
    (void)!::write(full[1], &ok, 1);
    ::pause();
    return 0;
  });
  char told = 0;
  ASSERT_EQ(::read(full[0], &told, 1), 1);
  EXPECT_EQ(told, 'f');
  EXPECT_GT(load(state().core().misses[CTN_MISS_TASK_TABLE_FULL]), 0u);
  EXPECT_EQ(fork_and_reap(1000L), 0) << "uncontained forks while the table is full";
  members.signal(SIGKILL);
  members.wait();
  EXPECT_TRUE(back_to_zero("default:/a"));
  ASSERT_TRUE(take_down(pins(), true).has_value());
}

TEST_F(Storm, TearingDownMidStormHurtsNobody) {
  create("default:/a", level() >= CTN_LEVEL_FALLBACK ? std::vector<std::string>{"numtasks.limit=16"}
                                                     : std::vector<std::string>{});
  Background bomb = start_in("default:/a", [] {
    fork_bomb(4, storm_seconds());
    return 0;
  });
  std::atomic<long> failed{0};
  Repeating outside([&] { failed += fork_and_reap(1L); });
  EXPECT_TRUE(eventually([&] { return number("default:/a", "numtasks.peak") > 4; }));
  ASSERT_TRUE(take_down(pins(), true).has_value());
  bomb.wait();
  EXPECT_GT(outside.stop(), 0);
  EXPECT_EQ(failed, 0);
}

TEST_F(Storm, StressNgUnderALimitLeavesNothing) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  if (shell("command -v stress-ng").code != 0) CTN_SKIP("stress-ng is not installed");
  create("default:/s", {"numtasks.limit=64"});
  for (const char* kind : {"--fork 8", "--vfork 4", "--clone 4", "--pthread 4"}) {
    Background stress = start_in("default:/s", [&] {
      std::string line = std::string("cd /tmp && exec stress-ng --quiet --timeout 2 ") + kind;
      return ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    });
    stress.wait();
    EXPECT_TRUE(back_to_zero("default:/s")) << kind;
    if (exact()) {
      EXPECT_LE(number("default:/s", "numtasks.peak"), 64u) << kind;
    }
    EXPECT_GT(number("default:/s", "numtasks.peak"), 4u) << kind;
  }
}

}  // namespace
}  // namespace ctnbpf::test
