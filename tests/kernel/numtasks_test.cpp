/* numtasks over real forks: the promises of subsystems/numtasks/numtasks.cpp. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "ctnbpf/events.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
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
    return eventually([&] {
      if (number(address, "numtasks.current") != 0) free_dead_tasks();
      return number(address, "numtasks.current") == 0;
    });
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
    create(path,
           depth == 1 ? std::vector<std::string>{"numtasks.limit=3"} : std::vector<std::string>{});
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

/* Several levels have limits: the one that is reached first refuses and is named. */
TEST_F(NumtasksLimit, TheLowestLimitThatIsFullIsNamed) {
  create("default:/a", {"numtasks.limit=5"});
  create("default:/a/b", {"numtasks.limit=3"});
  create("default:/a/b/c", {"numtasks.limit=9"});
  EXPECT_EQ(start_in("default:/a/b/c", [] { return Sleepers(9).count(); }).wait(), 2);
  EXPECT_EQ(number("default:/a/b", "numtasks.events"), 1u);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 0u);
  set("default:/a/b", {"numtasks.limit=max"});
  EXPECT_EQ(start_in("default:/a/b/c", [] { return Sleepers(9).count(); }).wait(), 4);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 1u);
  auto reader = EventReader::open(pins(), EventReader::From::kOldest);
  ASSERT_TRUE(reader.has_value());
  ctn_event last = {};
  while (auto event = reader->next())
    if (event->kind == CTN_EVENT_FORK_REFUSED) last = *event;
  EXPECT_EQ(last.slot, slot("default:/a/b/c"));
  EXPECT_EQ(last.by_slot, slot("default:/a"));
}

/* A parent that never reaps: its dead children hold pids, and count. */
TEST_F(NumtasksLimit, UnreapedChildrenCountAgainstTheLimit) {
  create("default:/a", {"numtasks.limit=5"});
  Background child = start_in("default:/a", [] {
    int forks = 0;
    for (;;) {
      pid_t pid = ::fork();
      if (pid == 0) ::_exit(0);
      if (pid < 0) return errno == EAGAIN ? forks : 255;
      siginfo_t info;
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
      forks++;
    }
  });
  EXPECT_EQ(child.wait(), 4);
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(Numtasks, RmWithOnlyZombiesWorksAndTheirChargeLingers) {
  create("default:/a");
  create("default:/a/b");
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  /* The parent is outside, and its child alone is in the container. */
  Background parent(std::function<int()>([&] {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
    (void)!::write(out[1], &pid, sizeof(pid));
    for (;;) ::pause(); /* never reaps */
    return 0;
  }));
  pid_t child = 0;
  ASSERT_EQ(::read(out[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  attach_pid("default:/a/b", child);
  ::kill(child, SIGKILL);
  ASSERT_TRUE(eventually([&] { return number("default:/a/b", "tasks") == 0; }));
  EXPECT_EQ(number("default:/a/b", "numtasks.current"), 1u);
  Slot removed = slot("default:/a/b");
  {
    auto writer = Writer::open(pins());
    auto done = tree::remove(*writer, removed, false);
    ASSERT_TRUE(done.has_value()) << done.error().what;
    EXPECT_EQ(writer->nodes()[removed].state, CTN_REMOVED);
  }
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  parent.signal(SIGKILL);
  parent.wait();
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(NumtasksLimit, WithinLimitsRefusesAndChangesNothing) {
  create("default:/a", {"numtasks.limit=3"});
  create("default:/a/b");
  create("default:/a/c");
  Background one = start_in("default:/a/b", [] { return ::pause(); });
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background family(std::function<int()>([&] {
    Sleepers some(2);
    (void)!::write(out[1], "r", 1);
    return ::pause();
  }));
  char ready = 0;
  ASSERT_EQ(::read(out[0], &ready, 1), 1);
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  Slot to = *tree::find(*writer, "default:/a/c");
  auto refused = attach_tree(*writer, to, family.pid(), Limits::kWithin);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EAGAIN);
  EXPECT_NE(refused.error().what.find("3 tasks would exceed numtasks.limit of default:/a"),
            std::string::npos)
      << refused.error().what;
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  EXPECT_TRUE(attach(*writer, to, family.pid(), false, Limits::kWithin).has_value())
      << "one alone has room";
  /* From below the limit to below it: no more than before, so never refused. */
  ASSERT_TRUE(
      set_attributes(*writer, *tree::find(*writer, "default:/a"), {"numtasks.limit=1"}, false)
          .has_value());
  EXPECT_TRUE(attach(*writer, to, one.pid(), false, Limits::kWithin).has_value());
  EXPECT_EQ(number("default:/a/c", "numtasks.current"), 2u);
  family.signal(SIGKILL);
}

TEST_F(Numtasks, StatsSayItAll) {
  create("default:/a");
  EXPECT_EQ(start_in("default:/a", [] { return fork_and_reap(3L) == 0 ? 0 : 1; }).wait(), 0);
  ASSERT_TRUE(back_to_zero("default:/a"));
  State now = state();
  auto stats = find_attribute(now, slot("default:/a"), "numtasks.stats");
  ASSERT_TRUE(stats.has_value());
  auto text = stats->attribute->read(now, slot("default:/a"));
  ASSERT_TRUE(text.has_value());
  if (level() >= CTN_LEVEL_FALLBACK) {
    EXPECT_EQ(to_string(*text),
              "current=0,peak=2,successes=3,failures=0,rate_failures=0,borrowed=0");
  }
}

/* /a/b may have three, as five of the eight of /a are its sibling's. Two that fork there want four: who is
 * refused by /a has been charged to /a/b already, when the child of the other one goes. */
TEST_F(NumtasksLimit, APeakHasNoChargeThatWasRefused) {
  create("default:/a", {"numtasks.limit=8"});
  create("default:/a/b");
  create("default:/a/c");
  Background five = start_in("default:/a/c", [] { return Sleepers(4).count() + ::pause(); });
  ASSERT_TRUE(eventually([&] { return number("default:/a/c", "numtasks.current") == 5; }));
  std::vector<Background> forkers;
  for (int i = 0; i < 2; i++)
    forkers.push_back(start_in("default:/a/b", []() -> int {
      for (;;)
        if (pid_t child = ::fork(); child == 0)
          ::_exit(0);
        else if (child > 0)
          ::waitpid(child, nullptr, 0);
    }));
  std::uint64_t most = 0;
  EXPECT_TRUE(eventually([&] {
    for (int look = 0; look < 200; look++)
      most = std::max(most, number("default:/a/b", "numtasks.current"));
    return number("default:/a", "numtasks.events") > 5'000;
  }));
  for (Background& one : forkers) one.signal(SIGKILL);
  for (Background& one : forkers) one.wait();
  EXPECT_LE(most, 3u);
  EXPECT_EQ(number("default:/a/b", "numtasks.peak"), 3u);
  EXPECT_EQ(number("default:/a", "numtasks.peak"), 8u);
  std::printf("%ju refused, peak %ju of 3\n", number("default:/a", "numtasks.events"),
              number("default:/a/b", "numtasks.peak"));
}

}  // namespace
}  // namespace ctnbpf::test
