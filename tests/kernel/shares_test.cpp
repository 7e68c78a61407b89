/* Shares over real forks: the promises of subsystems/numtasks/numtasks.cpp about them. Words and pools
 * are compared with a recount over all tasks at the end of each test (fsck in TearDown). */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctnbpf/events.h"
#include "ctnbpf/fsck.h"
#include "kernel_test.h"
#include "numtasks/numtasks.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

int storm_seconds() {
  const char* text = std::getenv("CTNBPF_STORM_SECONDS");
  return text != nullptr ? std::atoi(text) : 4;
}

class Shares : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }

  /* The error of one setting, or none. */
  Result<void> try_set(const std::string& address, const std::string& setting) {
    auto writer = Writer::open(pins());
    if (!writer) return writer.error();
    auto slot = tree::find(*writer, address);
    if (!slot) return slot.error();
    return set_attributes(*writer, *slot, {setting}, false);
  }

  std::vector<std::string> problems() {
    auto writer = Writer::open(pins());
    EXPECT_TRUE(writer.has_value());
    auto report = fsck(*writer, false);
    EXPECT_TRUE(report.has_value());
    return report->problems;
  }

  /* Starts `count` sleepers and their parent in `address`, and waits until all are there. */
  Background hold(const std::string& address, int count) {
    std::array<int, 2> out = {};
    EXPECT_EQ(::pipe(out.data()), 0);
    Background child = start_in(address, [&] {
      Sleepers some(count - 1);
      char ok = some.count() == count - 1 ? 'y' : 'n';
      (void)!::write(out[1], &ok, 1);
      for (;;) ::pause();
      return 0;
    });
    char told = 0;
    EXPECT_EQ(::read(out[0], &told, 1), 1);
    EXPECT_EQ(told, 'y') << address << " cannot have " << count;
    ::close(out[0]);
    ::close(out[1]);
    return child;
  }

  /* How many tasks `address` can have, the first one included, until a fork fails with EAGAIN. */
  int fill(const std::string& address, int most = 60) {
    return start_in(address, [&] {
             Sleepers some(most);
             return some.failed() == 0 || some.failed() == EAGAIN ? some.count() + 1 : 255;
           }).wait();
  }

  void thirty_thirty_none() {
    set("default:/", {"numtasks.total_numtasks=20"});
    create("default:/a", {"numtasks.shares=min_shares=30"});
    create("default:/b", {"numtasks.shares=min_shares=30"});
    create("default:/c");
  }
};

TEST_F(Shares, TheThirdGetsWhatIsLeftAndTheOthersTheirGuarantee) {
  thirty_thirty_none();
  EXPECT_EQ(number("default:/a", "numtasks.guarantee"), 6u);
  EXPECT_EQ(fill("default:/c"), 8);
  Background third = hold("default:/c", 8);
  Background one = hold("default:/a", 6);
  Background two = hold("default:/b", 6);
  EXPECT_EQ(number("default:/c", "numtasks.borrowed"), 8u);
  EXPECT_EQ(number("default:/", "numtasks.borrowed"), 8u);
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
  EXPECT_EQ(number("default:/", "numtasks.events"), 1u) << "the root had nothing left to lend";
  EXPECT_EQ(number("default:/c", "numtasks.failcnt"), 1u);
  EXPECT_EQ(number("default:/c", "numtasks.events"), 0u);
}

TEST_F(Shares, OneBorrowsWhatTheOthersDoNotNeedToHave) {
  thirty_thirty_none();
  EXPECT_EQ(fill("default:/a"), 14) << "its 6 and the 8 of nobody";
  EXPECT_EQ(fill("default:/b"), 14);
}

/* A bomb in the third while the others come and go: whoever is guaranteed is never refused. */
TEST_F(Shares, AGuaranteeHoldsInAStorm) {
  thirty_thirty_none();
  Background bomb = start_in("default:/c", [] {
    fork_bomb(3, storm_seconds());
    return 0;
  });
  auto reach = [] {
    time_t end = ::time(nullptr) + storm_seconds();
    int rounds = 0;
    for (; ::time(nullptr) < end; rounds++)
      if (Sleepers some(5); some.count() != 5) return 1;
    return rounds > 0 ? 0 : 2;
  };
  Background one = start_in("default:/a", reach);
  Background two = start_in("default:/b", reach);
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(two.wait(), 0);
  bomb.wait();
  EXPECT_LE(number("default:/c", "numtasks.peak"), 8u);
  EXPECT_GE(number("default:/c", "numtasks.peak"), 7u);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 0u);
  EXPECT_EQ(number("default:/b", "numtasks.failcnt"), 0u);
}

TEST_F(Shares, CeilingsBindAsLimitsDo) {
  set("default:/", {"numtasks.total_numtasks=20"});
  create("default:/a", {"numtasks.shares=max_shares=50"});
  create("default:/a/b", {"numtasks.shares=max_shares=30", "numtasks.limit=9"});
  EXPECT_EQ(number("default:/a", "numtasks.ceiling"), 10u);
  EXPECT_EQ(number("default:/a/b", "numtasks.ceiling"), 3u);
  EXPECT_EQ(fill("default:/a/b"), 3);
  EXPECT_EQ(number("default:/a/b", "numtasks.events"), 1u);
  EXPECT_EQ(fill("default:/a"), 10);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 1u);
  set("default:/a/b", {"numtasks.limit=2"});
  EXPECT_EQ(fill("default:/a/b"), 2) << "the smaller binds";
  set("default:/a/b", {"numtasks.limit=max", "numtasks.shares=max_shares=dontcare"});
  EXPECT_EQ(fill("default:/a/b"), 10);
}

TEST_F(Shares, LevelsBelowDivideWhatIsGuaranteedToTheirParent) {
  set("default:/", {"numtasks.total_numtasks=40"});
  create("default:/a", {"numtasks.shares=min_shares=50,child_shares_divisor=10"});
  create("default:/a/x", {"numtasks.shares=min_shares=6"});
  create("default:/a/y");
  create("default:/b");
  EXPECT_EQ(number("default:/a/x", "numtasks.guarantee"), 12u);
  Background other = hold("default:/b", 20);
  EXPECT_EQ(fill("default:/b"), 1) << "attached, and not a fork more";
  EXPECT_EQ(fill("default:/a/y"), 8) << "what /a has not given to /a/x";
  Background y = hold("default:/a/y", 8);
  EXPECT_EQ(fill("default:/a/x"), 12);
}

/* Shares come into force and go while tasks run. */
TEST_F(Shares, ComeIntoForceUnderRunningTasks) {
  create("default:/a");
  create("default:/b");
  Background there = hold("default:/a", 8);
  set("default:/", {"numtasks.total_numtasks=10"});
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 8u);
  EXPECT_EQ(fill("default:/b"), 2);
  set("default:/b", {"numtasks.shares=min_shares=40"});
  EXPECT_EQ(fill("default:/b"), 4) << "8 run, and 4 are guaranteed: more than the total, until they drain";
  EXPECT_TRUE(problems().empty());
  set("default:/b", {"numtasks.shares=min_shares=dontcare"});
  set("default:/", {"numtasks.total_numtasks=max"});
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
  EXPECT_EQ(fill("default:/b", 20), 21);
}

TEST_F(Shares, OverCommitmentDrainsByRefusingToLend) {
  set("default:/", {"numtasks.total_numtasks=10"});
  create("default:/a");
  create("default:/b");
  {
    Background borrower = hold("default:/b", 8);
    set("default:/a", {"numtasks.shares=min_shares=50"});
    EXPECT_EQ(fill("default:/a"), 5) << "what is guaranteed counts at once";
    EXPECT_EQ(number("default:/", "numtasks.borrowed"), 8u);
  }
  EXPECT_TRUE(eventually([&] { return number("default:/b", "numtasks.current") == 0; }));
  EXPECT_EQ(fill("default:/b"), 5);
}

TEST_F(Shares, AMovedTaskTakesItsChargeAlong) {
  thirty_thirty_none();
  Background one = start_in("default:/a", [] { return ::pause(); });
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
  attach_pid("default:/c", one.pid());
  EXPECT_EQ(number("default:/c", "numtasks.borrowed"), 1u);
  Background rest = hold("default:/c", 7);
  attach_pid("default:/b", one.pid());
  EXPECT_EQ(number("default:/", "numtasks.borrowed"), 7u);
  attach_pid("default:/", one.pid());
  EXPECT_EQ(number("default:/b", "numtasks.current"), 0u);
  EXPECT_TRUE(problems().empty());
}

/* 8 held by borrowing, 3 more by force. */
TEST_F(Shares, AttachIsNotRefused) {
  thirty_thirty_none();
  Background full = hold("default:/c", 8);
  Background one = start_in("default:/c", [] { return ::pause(); });
  Background two = start_in("default:/c", [] { return ::pause(); });
  EXPECT_EQ(number("default:/", "numtasks.borrowed"), 10u);
  EXPECT_EQ(fill("default:/a"), 6);
}

TEST_F(Shares, ARemovedChildsMinGoesBack) {
  thirty_thirty_none();
  auto refused = try_set("default:/c", "numtasks.shares=min_shares=50");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EINVAL);
  EXPECT_NE(refused.error().what.find("min_shares 50 and the 60 of its siblings exceed the parent's "
                                      "child_shares_divisor 100"),
            std::string::npos)
      << refused.error().what;
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(tree::remove(*writer, *tree::find(*writer, "default:/a"), false).has_value());
  }
  EXPECT_EQ(fill("default:/c"), 14);
  EXPECT_TRUE(try_set("default:/c", "numtasks.shares=min_shares=50").has_value());
}

TEST_F(Shares, ALingeringContainersTasksAreBorrowed) {
  thirty_thirty_none();
  Background inside = hold("default:/a", 4);
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(tree::remove(*writer, *tree::find(*writer, "default:/a"), true).has_value());
  }
  EXPECT_EQ(number("default:/", "numtasks.borrowed"), 4u);
  EXPECT_EQ(fill("default:/c"), 10);
  EXPECT_TRUE(problems().empty());
}

TEST_F(Shares, RulesAreEinvalAndChangeNothing) {
  create("default:/a", {"numtasks.shares=min_shares=30,max_shares=50"});
  create("default:/a/b", {"numtasks.shares=min_shares=70"});
  for (const char* bad : {"min_shares=60", "max_shares=101", "max_shares=29", "child_shares_divisor=69", "nonsense",
                          "child_shares_divisor=0", "min_shares=x"}) {
    auto ok = try_set("default:/a", std::string("numtasks.shares=") + bad);
    ASSERT_FALSE(ok.has_value()) << bad;
    EXPECT_EQ(ok.error().code, EINVAL) << bad;
  }
  auto root = try_set("default:/", "numtasks.shares=min_shares=1");
  ASSERT_FALSE(root.has_value());
  EXPECT_EQ(root.error().code, EPERM);
  EXPECT_EQ(try_set("default:/a", "numtasks.total_numtasks=5").error().code, EPERM);
  EXPECT_EQ(try_set("default:/", "numtasks.total_numtasks=0").error().code, EINVAL);
}

TEST_F(Shares, ADeepTreeBorrowsThroughEveryLevel) {
  set("default:/", {"numtasks.total_numtasks=10"});
  std::string path = "default:";
  for (int depth = 1; depth <= 200; depth++) {
    path += "/d";
    create(path, depth % 40 == 0 ? std::vector<std::string>{"numtasks.shares=min_shares=50"} : std::vector<std::string>{});
  }
  EXPECT_EQ(fill(path), 10);
  EXPECT_TRUE(eventually([&] { return number("default:/", "numtasks.borrowed") == 0; }));
  create("default:/e", {"numtasks.shares=min_shares=30"});
  EXPECT_EQ(fill(path), 7);
}

/* Forks, exits, moves and changes of every share at once: then no word is off by one. */
TEST_F(Shares, NothingIsLostInAStormOfEverything) {
  set("default:/", {"numtasks.total_numtasks=24"});
  create("default:/a", {"numtasks.shares=min_shares=40"});
  create("default:/a/x", {"numtasks.shares=min_shares=50"});
  create("default:/b");
  const char* places[] = {"default:/a", "default:/a/x", "default:/b"};
  std::vector<Background> forkers;
  for (int i = 0; i < 6; i++)
    forkers.push_back(start_in(places[i % 3], [] {
      time_t end = ::time(nullptr) + storm_seconds();
      while (::time(nullptr) < end) Sleepers some(4);
      return 0;
    }));
  time_t end = ::time(nullptr) + storm_seconds();
  for (unsigned i = 0; ::time(nullptr) < end; i++) {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto to = tree::find(*writer, places[i % 3]);
    (void)attach(*writer, *to, forkers[i * 7 % forkers.size()].pid(), false);
    std::vector<std::string> shares = {"numtasks.shares=min_shares=" + std::to_string(i * 13 % 60)};
    ASSERT_TRUE(set_attributes(*writer, *tree::find(*writer, places[i % 2]), shares, false).has_value());
    if (i % 16 == 15) { /* out of force and in again */
      for (const char* place : places)
        ASSERT_TRUE(set_attributes(*writer, *tree::find(*writer, place), {"numtasks.shares=min_shares=dontcare"},
                                   false)
                        .has_value());
      Slot root = 0;
      ASSERT_TRUE(set_attributes(*writer, root, {"numtasks.total_numtasks=max"}, false).has_value());
      ASSERT_TRUE(set_attributes(*writer, root, {"numtasks.total_numtasks=24"}, false).has_value());
    }
    if (i % 8 == 0) {
      auto extra = tree::create(*writer, *to, "extra");
      ASSERT_TRUE(extra.has_value());
      (void)attach(*writer, *extra, forkers[i % forkers.size()].pid(), false);
      ASSERT_TRUE(tree::remove(*writer, *extra, true).has_value());
    }
  }
  for (const std::string& one : problems()) ADD_FAILURE() << one;
  for (Background& one : forkers) one.wait();
  for (const char* place : places)
    EXPECT_TRUE(eventually([&] { return number(place, "numtasks.current") == 0; })) << place;
  EXPECT_TRUE(eventually([&] { return number("default:/", "numtasks.borrowed") == 0; }));
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
}

/* A writer that died between two stores: fsck sees it, --repair makes the words anew. */
TEST_F(Shares, AChangeCutShortIsSeenAndRepaired) {
  thirty_thirty_none();
  Background some = hold("default:/c", 5);
  {
    auto writer = Writer::open(pins());
    auto all = writer->records<numtasks_state>("numtasks");
    store((*all)[0].changing, 1U);
    store((*all)[*tree::find(*writer, "default:/c")].share, __u64{7} << 32);
  }
  EXPECT_FALSE(problems().empty());
  {
    auto writer = Writer::open(pins());
    auto report = fsck(*writer, true);
    ASSERT_TRUE(report.has_value());
    EXPECT_FALSE(report->repaired.empty());
  }
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(number("default:/c", "numtasks.borrowed"), 5u);
}

}  // namespace
}  // namespace ctnbpf::test
