/* Shares while much happens at once: storms of forks, changes under way, writers that are killed. */
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "shares_fixture.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"

namespace ctnbpf::test {
namespace {

using SharesStorm = Shares;

/* A bomb in the third while the others come and go: whoever is guaranteed is never refused. */
TEST_F(SharesStorm, AGuaranteeHoldsInAStorm) {
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

/* The same while shares change: /a needs 4 of its own beside the 6 of /a/x, whatever /a/x is guaranteed. */
TEST_F(SharesStorm, AGuaranteeHoldsWhileSharesChange) {
  set("default:/", {"numtasks.total_numtasks=20"});
  create("default:/a", {"numtasks.shares=min_shares=50"});
  create("default:/a/x", {"numtasks.shares=min_shares=60"});
  create("default:/b", {"numtasks.shares=min_shares=20"});
  create("default:/c");
  Background bomb = start_in("default:/c", [] {
    fork_bomb(2, storm_seconds());
    return 0;
  });
  auto reach = [](int count) {
    time_t end = ::time(nullptr) + storm_seconds();
    int rounds = 0;
    for (; ::time(nullptr) < end; rounds++)
      if (Sleepers some(count - 1); some.count() != count - 1) return 1;
    return rounds > 0 ? 0 : 2;
  };
  Background own = start_in("default:/a", [&] { return reach(4); });
  Background child = start_in("default:/a/x", [&] { return reach(6); });
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  Slot x = *tree::find(*writer, "default:/a/x");
  Slot b = *tree::find(*writer, "default:/b");
  time_t end = ::time(nullptr) + storm_seconds();
  for (unsigned i = 0; ::time(nullptr) < end; i++) {
    std::string share = std::to_string(i * 37 % 61);
    ASSERT_TRUE(
        set_attributes(*writer, x, {"numtasks.shares=min_shares=" + share}, false).has_value());
    share = std::to_string(i * 11 % 51);
    ASSERT_TRUE(
        set_attributes(*writer, b, {"numtasks.shares=min_shares=" + share}, false).has_value());
  }
  EXPECT_EQ(own.wait(), 0);
  EXPECT_EQ(child.wait(), 0);
  bomb.wait();
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 0u);
  EXPECT_EQ(number("default:/a/x", "numtasks.failcnt"), 0u);
  EXPECT_GT(number("default:/c", "numtasks.failcnt"), 0u);
  EXPECT_LE(number("default:/c", "numtasks.peak"), 10u) << "/a keeps its 10 throughout";
}

/* Forks that a limit refuses again and again: the pool they would come out of looks no fuller for it. */
TEST_F(SharesStorm, WhoIsRefusedTakesNoRoomMeanwhile) {
  set("default:/", {"numtasks.total_numtasks=20"});
  create("default:/a", {"numtasks.shares=min_shares=50"});
  create("default:/a/y", {"numtasks.limit=0"});
  create("default:/z");
  Background rest = hold("default:/z", 10);
  std::vector<Background> refused;
  for (int i = 0; i < 2; i++)
    refused.push_back(start_in("default:/a/y", [] {
      for (time_t end = ::time(nullptr) + 3; ::time(nullptr) < end;)
        if (fork_and_reap(100L) != 100) return 1;
      return 0;
    }));
  Background own = start_in("default:/a", [] {
    Sleepers most(6); /* and the last that is guaranteed comes and goes */
    for (time_t end = ::time(nullptr) + 3; ::time(nullptr) < end;)
      if (most.count() != 6 || fork_and_reap(20L) != 0) return 1;
    return 0;
  });
  EXPECT_EQ(own.wait(), 0) << "its 8 and the 2 of /a/y are just what is guaranteed";
  for (Background& one : refused) EXPECT_EQ(one.wait(), 0);
}

/* Moved to and fro below a guarantee and a limit: who is moved counts once, in either place. */
TEST_F(SharesStorm, WhoIsMovedCountsOnce) {
  set("default:/", {"numtasks.total_numtasks=20"});
  create("default:/a", {"numtasks.shares=min_shares=50", "numtasks.limit=10"});
  create("default:/a/x");
  create("default:/a/y");
  create("default:/z");
  Background rest = hold("default:/z", 10);
  Background moved = start_in("default:/a/x", [] { return ::pause(); });
  Background own = start_in("default:/a", [] {
    Sleepers most(7);
    for (time_t end = ::time(nullptr) + 2; ::time(nullptr) < end;)
      if (most.count() != 7 || fork_and_reap(20L) != 0) return 1;
    return 0;
  });
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  Slot places[] = {*tree::find(*writer, "default:/a/y"), *tree::find(*writer, "default:/a/x")};
  unsigned moves = 0;
  for (time_t end = ::time(nullptr) + 2; ::time(nullptr) < end; moves++)
    ASSERT_TRUE(attach(*writer, places[moves % 2], moved.pid(), false).has_value());
  EXPECT_EQ(own.wait(), 0) << "its 9 and the one that is moved are just what is guaranteed";
  EXPECT_GT(moves, 10u);
  if (level() == CTN_LEVEL_STRICT) {
    EXPECT_LE(number("default:/a", "numtasks.peak"), 10u);
  }
}

/* Lowered and raised while forks go on: it drains, and is not exceeded again. */
TEST_F(SharesStorm, LoweringUnderLoad) {
  create("default:/a");
  create("default:/a/b");
  set("default:/", {"numtasks.total_numtasks=40"});
  std::vector<Background> forkers;
  for (int i = 0; i < 3; i++)
    forkers.push_back(start_in("default:/a/b", [] {
      for (;;) Sleepers some(3);
      return 0;
    }));
  struct Way {
    const char* on;
    const char* low;
    const char* high;
  };
  for (const Way& way :
       {Way{"default:/a", "numtasks.limit=5", "numtasks.limit=max"},
        Way{"default:/a/b", "numtasks.limit=5", "numtasks.limit=max"},
        Way{"default:/a", "numtasks.shares=max_shares=13", "numtasks.shares=max_shares=dontcare"},
        Way{"default:/", "numtasks.total_numtasks=5", "numtasks.total_numtasks=40"}})
    for (int round = 0; round < 3; round++) {
      set(way.on, {way.low});
      State now = state();
      auto all = now.records<numtasks_state>("numtasks");
      const numtasks_state& own = (*all)[slot(way.on)];
      auto used = [&] {
        return way.on == std::string("default:/") ? static_cast<__u64>(share_usage(load(own.share)))
                                                  : CTN_CHARGED(load(own.current));
      };
      EXPECT_TRUE(eventually([&] { return used() <= 5; })) << way.low << " on " << way.on;
      __u64 most = 0;
      for (int look = 0; look < 20000; look++) most = std::max(most, used());
      if (level() == CTN_LEVEL_STRICT) {
        EXPECT_LE(most, 5u) << way.low << " on " << way.on;
      }
      set(way.on, {way.high});
      EXPECT_TRUE(eventually([&] { return used() > 7; })) << way.high << " on " << way.on;
    }
}

/* Forks, exits, moves and changes of every share at once: then no word is off by one. */
TEST_F(SharesStorm, NothingIsLostInAStormOfEverything) {
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
    ASSERT_TRUE(
        set_attributes(*writer, *tree::find(*writer, places[i % 2]), shares, false).has_value());
    if (i % 16 == 15) { /* out of force and in again */
      for (const char* place : places)
        ASSERT_TRUE(set_attributes(*writer, *tree::find(*writer, place),
                                   {"numtasks.shares=min_shares=dontcare"}, false)
                        .has_value());
      Slot root = 0;
      ASSERT_TRUE(
          set_attributes(*writer, root, {"numtasks.total_numtasks=max"}, false).has_value());
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

/* Killed anywhere while it sets shares, rates and limits: the next writer puts right what was half done. */
TEST_F(SharesStorm, AKilledWriterIsMadeUpFor) {
  create("default:/a");
  create("default:/a/x");
  create("default:/b");
  Background some = hold("default:/a/x", 4);
  int cut_short = 0;
  for (int round = 0; round < 30 || (cut_short == 0 && round < 300); round++) {
    Background setter(std::function<int()>([&] {
      for (auto i = static_cast<unsigned>(round);; i++) {
        auto number = [&](unsigned k) { return std::to_string(i * k % 40); };
        set("default:/", {i % 8 == 0 ? "numtasks.total_numtasks=max"
                                     : "numtasks.total_numtasks=" + number(7) + "1"});
        set("default:/a", {i % 4 == 0 ? "numtasks.shares=min_shares=dontcare,max_shares=dontcare"
                                      : "numtasks.shares=min_shares=" + number(13) +
                                            ",max_shares=" + std::to_string(40 + i % 40),
                           "numtasks.limit=" + number(5),
                           "numtasks.forkrate=" + (i % 3 == 0 ? "max" : number(3))});
        set("default:/a/x", {"numtasks.shares=min_shares=" + number(17)});
        create("default:/c", {"numtasks.shares=min_shares=9"});
        auto writer = Writer::open(pins());
        (void)tree::remove(*writer, *tree::find(*writer, "default:/c"), true);
      }
      return 1;
    }));
    ::usleep(static_cast<useconds_t>(5000 + round * 7919 %
                                                40000)); /* when it is killed is what is tried */
    setter.signal(SIGKILL);
    setter.wait();
    {
      State left = state();
      cut_short += load((*left.records<numtasks_state>("numtasks"))[0].changing) != 0;
    }
    for (const std::string& one : problems()) ADD_FAILURE() << "round " << round << ": " << one;
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    if (auto left = tree::find(*writer, "default:/c")) (void)tree::remove(*writer, *left, true);
    for (const char* one : {"default:/a", "default:/a/x"}) {
      const numtasks_state& own =
          (*writer->records<numtasks_state>("numtasks"))[*tree::find(*writer, one)];
      const numtasks_state& above =
          (*writer->records<numtasks_state>("numtasks"))[*tree::find(*writer, "default:/a")];
      EXPECT_EQ((own.flags & NUMTASKS_RATED) != 0, (above.flags & NUMTASKS_RATE_HERE) != 0) << one;
    }
  }
  EXPECT_GT(cut_short, 0) << "no change of shares was hit";
}

/* A counter that is wrong, however it came: --repair finds it and makes it what the tasks say. */
TEST_F(SharesStorm, WrongFiguresAreSeenAndRepaired) {
  thirty_thirty_none();
  Background some = hold("default:/c", 5);
  {
    auto writer = Writer::open(pins());
    auto all = writer->records<numtasks_state>("numtasks");
    store((*all)[*tree::find(*writer, "default:/c")].share, share_next(0, 7, 0));
    store((*all)[*tree::find(*writer, "default:/a")].current, __u64{3});
  }
  EXPECT_EQ(problems().size(), 2u) << "the share of /c, and the count of /a";
  {
    auto writer = Writer::open(pins());
    auto report = fsck(*writer, true);
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->repaired.size(), 2u);
  }
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(number("default:/c", "numtasks.borrowed"), 5u);
}

}  // namespace
}  // namespace ctnbpf::test
