/* Shares over real forks: the promises of subsystems/numtasks/numtasks.cpp about them. */
#include <unistd.h>

#include <algorithm>

#include "shares_fixture.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"

namespace ctnbpf::test {
namespace {

TEST_F(Shares, TheThirdGetsWhatIsLeftAndTheOthersTheirGuarantee) {
  thirty_thirty_none();
  EXPECT_EQ(number("default:/a", "numtasks.guarantee"), 6u);
  EXPECT_EQ(number("default:/a", "numtasks.unused"), 6u);
  EXPECT_EQ(number("default:/", "numtasks.unused"), 8u);
  EXPECT_EQ(fill("default:/c"), 8);
  Background third = hold("default:/c", 8);
  Background one = hold("default:/a", 6);
  Background two = hold("default:/b", 6);
  EXPECT_EQ(number("default:/c", "numtasks.borrowed"), 8u);
  EXPECT_EQ(number("default:/", "numtasks.borrowed"), 8u);
  EXPECT_EQ(number("default:/a", "numtasks.borrowed"), 0u);
  EXPECT_EQ(number("default:/a", "numtasks.unused"), 0u);
  EXPECT_EQ(number("default:/", "numtasks.unused"), 0u);
  EXPECT_EQ(number("default:/", "numtasks.events"), 1u) << "the root had nothing left to lend";
  EXPECT_EQ(number("default:/c", "numtasks.failcnt"), 1u);
  EXPECT_EQ(number("default:/c", "numtasks.events"), 0u);
}

/* In any order of arrival. */
TEST_F(Shares, WhoeverComesFirst) {
  thirty_thirty_none();
  std::vector<std::pair<std::string, int>> all = {
      {"default:/a", 6}, {"default:/b", 6}, {"default:/c", 8}};
  do {
    std::vector<Background> there;
    for (const auto& [address, count] : all) there.push_back(hold(address, count));
    EXPECT_EQ(number("default:/", "numtasks.borrowed"), 8u);
    there.clear();
    ASSERT_TRUE(eventually([&] { return number("default:/", "numtasks.borrowed") == 0; }));
  } while (std::next_permutation(all.begin(), all.end()));
}

TEST_F(Shares, OneBorrowsWhatTheOthersDoNotNeedToHave) {
  thirty_thirty_none();
  EXPECT_EQ(fill("default:/a"), 14) << "its 6 and the 8 of nobody";
  EXPECT_EQ(fill("default:/b"), 14);
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
  EXPECT_EQ(fill("default:/b"), 4)
      << "8 run, and 4 are guaranteed: more than the total, until they drain";
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

/* Not even for a moment: a word tells of every change. By a limit, and where nothing is left to borrow. */
TEST_F(Shares, AForkThatIsRefusedChangesNoWord) {
  set("default:/", {"numtasks.total_numtasks=20"});
  create("default:/a", {"numtasks.shares=min_shares=50", "numtasks.limit=2"});
  create("default:/a/y", {"numtasks.limit=1"});
  create("default:/c");
  Background full = hold("default:/c", 10);
  auto words = [&] {
    State now = state();
    auto all = now.records<numtasks_state>("numtasks");
    std::vector<__u64> out;
    for (const char* one : {"default:/", "default:/a", "default:/a/y", "default:/c"})
      out.push_back(load((*all)[slot(one)].share));
    return out;
  };
  for (const char* place : {"default:/a/y", "default:/c"}) {
    std::array<int, 2> go = {};
    std::array<int, 2> told = {};
    ASSERT_EQ(::pipe(go.data()), 0);
    ASSERT_EQ(::pipe(told.data()), 0);
    Background child = start_in(place, [&] {
      char byte = 0;
      (void)!::read(go[0], &byte, 1);
      char failed = static_cast<char>(fork_and_reap(5L));
      (void)!::write(told[1], &failed, 1);
      return ::pause();
    });
    std::vector<__u64> before = words();
    ASSERT_EQ(::write(go[1], "g", 1), 1);
    char failed = 0;
    ASSERT_EQ(::read(told[0], &failed, 1), 1);
    EXPECT_EQ(failed, 5) << place;
    EXPECT_EQ(words(), before) << place;
    for (int end : {go[0], go[1], told[0], told[1]}) ::close(end);
  }
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
  EXPECT_NE(
      refused.error().what.find("min_shares 50 and the 60 of its siblings exceed the parent's "
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

/* Nothing else has to be set. */
TEST_F(Shares, TheKernelsThreadsMaxIsSharedOutByDefault) {
  std::uint64_t threads_max = std::stoull(shell("cat /proc/sys/kernel/threads-max").out);
  EXPECT_EQ(number("default:/", "numtasks.total_numtasks"), threads_max);
  create("default:/a", {"numtasks.shares=min_shares=30,max_shares=50"});
  EXPECT_EQ(number("default:/a", "numtasks.guarantee"), threads_max * 30 / 100);
  EXPECT_EQ(number("default:/a", "numtasks.ceiling"), threads_max * 50 / 100);
  EXPECT_EQ(number("default:/", "numtasks.unused"), threads_max - threads_max * 30 / 100);
}

TEST_F(Shares, RulesAreEinvalAndChangeNothing) {
  create("default:/a", {"numtasks.shares=min_shares=30,max_shares=50"});
  create("default:/a/b", {"numtasks.shares=min_shares=70"});
  for (const char* bad :
       {"min_shares=60", "max_shares=101", "max_shares=29", "child_shares_divisor=69", "nonsense",
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
    create(path, depth % 40 == 0 ? std::vector<std::string>{"numtasks.shares=min_shares=50"}
                                 : std::vector<std::string>{});
  }
  EXPECT_EQ(fill(path), 10);
  EXPECT_TRUE(eventually([&] { return number("default:/", "numtasks.borrowed") == 0; }));
  create("default:/e", {"numtasks.shares=min_shares=30"});
  EXPECT_EQ(fill(path), 7);
}

/* Who guaranteed nothing and rates nothing pays nothing: the flags that say otherwise are gone. */
TEST_F(Shares, NothingStaysInForceThatIsNotSet) {
  create("default:/a");
  create("default:/a/b");
  auto flags = [&](const std::string& address) {
    State now = state();
    return (*now.records<numtasks_state>("numtasks"))[slot(address)].flags;
  };
  set("default:/a", {"numtasks.shares=min_shares=5", "numtasks.forkrate=9"});
  create("default:/a/c");
  EXPECT_EQ(flags("default:/a/b"), NUMTASKS_SHARES | NUMTASKS_RATED);
  EXPECT_EQ(flags("default:/a/c"), NUMTASKS_SHARES | NUMTASKS_RATED);
  set("default:/a", {"numtasks.forkrate=max"});
  EXPECT_EQ(flags("default:/a/b"), NUMTASKS_SHARES);
  set("default:/a", {"numtasks.shares=min_shares=dontcare"});
  for (const char* one : {"default:/a", "default:/a/b", "default:/a/c"})
    EXPECT_EQ(flags(one), 0u) << one;
  create("default:/d", {"numtasks.shares=max_shares=5"});
  EXPECT_EQ(flags("default:/a"), NUMTASKS_SHARES);
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(tree::remove(*writer, *tree::find(*writer, "default:/d"), false).has_value());
  }
  EXPECT_EQ(flags("default:/a"), 0u);
}

/* To another container of the same hierarchy that has to borrow what was guaranteed before. */
TEST_F(Shares, WithinLimitsAsksWhatAMoveWouldBorrow) {
  thirty_thirty_none();
  Background full = hold("default:/c", 8);
  Background one = start_in("default:/a", [] { return ::pause(); });
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  auto refused =
      attach(*writer, *tree::find(*writer, "default:/c"), one.pid(), false, Limits::kWithin);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EAGAIN);
  EXPECT_NE(refused.error().what.find("numtasks.total_numtasks of default:/"), std::string::npos)
      << refused.error().what;
  EXPECT_TRUE(attach(*writer, *tree::find(*writer, "default:/b"), one.pid(), false, Limits::kWithin)
                  .has_value())
      << "guaranteed there as well";
}

}  // namespace
}  // namespace ctnbpf::test
