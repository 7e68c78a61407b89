/* numtasks over real forks: the promises of subsystems/numtasks/numtasks.cpp. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "kernel_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

/* In a function of its own: vfork may clobber the locals of its caller. */
[[gnu::noinline]] bool vfork_fails_with(int error) {
  pid_t pid = ::vfork();
  if (pid == 0) ::_exit(0);
  return pid == -1 && errno == error;
}

class Numtasks : public KernelTest {
 protected:
  bool back_to_zero(const std::string& address) {
    return eventually([&] { return number(address, "numtasks.current") == 0; });
  }
};

class NumtasksLimit : public Numtasks {
 protected:
  void SetUp() override {
    Numtasks::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }
};

TEST_F(Numtasks, CountsForkedTasksUntilReaped) {
  create("default:/a");
  Background child = start_in("default:/a", [] { return Sleepers(5).count() == 5 ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_EQ(number("default:/a", "numtasks.peak"), 6u);
}

TEST_F(Numtasks, CountsUpTheTree) {
  create("default:/a");
  create("default:/a/b");
  create("default:/a/c");
  Background one = start_in("default:/a/b", [] { return ::pause(); });
  Background two = start_in("default:/a/c", [] { return ::pause(); });
  Background three = start_in("default:/a", [] { return ::pause(); });
  EXPECT_EQ(number("default:/a", "numtasks.current"), 3u);
  EXPECT_EQ(number("default:/a/b", "numtasks.current"), 1u);
  EXPECT_EQ(number("default:/a/c", "numtasks.current"), 1u);
}

TEST_F(Numtasks, ZombiesCountUntilReaped) {
  create("default:/a");
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background parent = start_in("default:/a", [&] {
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT); /* it is a zombie now */
    (void)!::write(out[1], "z", 1);
    ::pause();
    return 0;
  });
  char told = 0;
  ASSERT_EQ(::read(out[0], &told, 1), 1);
  EXPECT_EQ(number("default:/a", "numtasks.current"), 2u);
  EXPECT_EQ(number("default:/a", "tasks"), 1u); /* and it is not a live member */
  parent.signal(SIGKILL);
  parent.wait();
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(NumtasksLimit, RefusesWithEagainAtTheLimit) {
  create("default:/a", {"numtasks.limit=4"});
  Background child = start_in("default:/a", [] {
    Sleepers first(10);
    if (first.count() != 3 || first.failed() != EAGAIN) return 1;
    first.end();
    Sleepers again(10); /* reaped tasks are free again at once */
    return again.count() == 3 && again.failed() == EAGAIN ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 2u);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 2u);
  EXPECT_EQ(number("default:/a", "numtasks.peak"), 4u);
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(NumtasksLimit, AnAncestorsLimitBindsAndIsNamedAndNothingStaysCharged) {
  create("default:/a", {"numtasks.limit=3"});
  create("default:/a/b");
  create("default:/a/b/c", {"numtasks.limit=100"});
  Background child = start_in("default:/a/b/c", [] {
    Sleepers some(10);
    return some.count() == 2 && some.failed() == EAGAIN ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 1u);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 0u);
  EXPECT_EQ(number("default:/a/b", "numtasks.events"), 0u);
  EXPECT_EQ(number("default:/a/b/c", "numtasks.events"), 0u);
  EXPECT_EQ(number("default:/a/b/c", "numtasks.failcnt"), 1u);
  /* A refused fork leaves no trace in the peaks below the limit either. */
  EXPECT_EQ(number("default:/a/b/c", "numtasks.peak"), 3u);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_EQ(number("default:/a/b/c", "numtasks.current"), 0u);
}

TEST_F(NumtasksLimit, LimitZeroStopsForksOfMembers) {
  create("default:/a", {"numtasks.limit=0"});
  Background child = start_in("default:/a", [] { return Sleepers(1).failed() == EAGAIN ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(NumtasksLimit, LoweringUnderCurrentStopsForksAndEndsNothing) {
  create("default:/a");
  std::array<int, 2> in = {};
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(in.data()), 0);
  ASSERT_EQ(::pipe(out.data()), 0);
  Background child = start_in("default:/a", [&] {
    Sleepers some(5);
    char go = 0;
    (void)!::write(out[1], "r", 1);
    (void)!::read(in[0], &go, 1);
    Sleepers more(1);
    if (more.failed() != EAGAIN) return 1;
    some.end();
    return Sleepers(5).count() == 2 ? 0 : 2; /* below the limit again: 3 */
  });
  char ready = 0;
  ASSERT_EQ(::read(out[0], &ready, 1), 1);
  set("default:/a", {"numtasks.limit=3"});
  EXPECT_EQ(number("default:/a", "numtasks.current"), 6u);
  ASSERT_EQ(::write(in[1], "g", 1), 1);
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(NumtasksLimit, AttachIsNotRefusedByTheLimit) {
  create("default:/a", {"numtasks.limit=1"});
  Background one = start_in("default:/a", [] { return ::pause(); });
  Background two = start_in("default:/a", [] { return ::pause(); });
  EXPECT_EQ(number("default:/a", "numtasks.current"), 2u);
}

/* A fork that the kernel itself fails after our gate (here: the pids controller) is given back. */
TEST_F(NumtasksLimit, AForkThatFailsLaterIsGivenBackAtOnce) {
  std::string group = "/sys/fs/cgroup/ctnbpf-test";
  if (shell("echo +pids > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p " + group).code != 0)
    CTN_SKIP("no cgroup v2 pids controller here");
  create("default:/a", {"numtasks.limit=2"});
  Background child = start_in("default:/a", [&] {
    std::ofstream(group + "/cgroup.procs") << ::getpid();
    std::ofstream(group + "/pids.max") << 1;
    if (fork_and_reap(200L) != 200) return 1;
    std::ofstream(group + "/pids.max") << "max";
    return fork_and_reap(200L) == 0 ? 0 : 2; /* any charge left would refuse these */
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_TRUE(eventually([&] { return ::rmdir(group.c_str()) == 0; }));
}

TEST_F(NumtasksLimit, ADeepTreeChargesEveryLevel) {
  std::string path = "default:";
  for (int depth = 1; depth <= 200; depth++) {
    path += "/d";
    create(path, depth == 1 ? std::vector<std::string>{"numtasks.limit=3"} : std::vector<std::string>{});
  }
  Background child = start_in(path, [] {
    Sleepers some(10);
    return some.count() == 2 && some.failed() == EAGAIN ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/d"));
  EXPECT_EQ(number("default:/d", "numtasks.peak"), 3u);
  EXPECT_EQ(number(path, "numtasks.current"), 0u);
}

TEST_F(NumtasksLimit, ThreadsAndVforkAndCloneCountAlike) {
  create("default:/a", {"numtasks.limit=3"});
  Background child = start_in("default:/a", [] {
    std::atomic<bool> go{false};
    auto wait = [&] {
      while (!go) std::this_thread::yield();
    };
    std::thread one(wait);
    std::thread two(wait);
    bool refused = false;
    try {
      std::thread three(wait);
      three.detach();
    } catch (const std::system_error& error) {
      refused = error.code().value() == EAGAIN;
    }
    bool no_vfork = vfork_fails_with(EAGAIN);
    go = true;
    one.join();
    two.join();
    return refused && no_vfork ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/a"));
}

}  // namespace
}  // namespace ctnbpf::test
