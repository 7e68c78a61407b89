/* Shares against worked tables, and the words against a recount under threads. No kernel. */
#include "shares/shares.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <thread>

namespace ctnbpf::shares {
namespace {

/* A tree in memory: slot 0 is the root. */
class Memory : public Table {
 public:
  explicit Memory(std::uint32_t total) {
    add(0, 0);
    total_ = total;
  }
  Slot add(Slot slot, Slot parent, ctn_shares its = none()) {
    nodes_[slot] = {its, 0, parent, true};
    return slot;
  }
  static ctn_shares none() { return {CTN_DONT_CARE, CTN_DONT_CARE, 100, 0, CTN_DONT_CARE}; }
  static ctn_shares of(std::uint32_t min, std::uint32_t max = CTN_DONT_CARE,
                       std::uint32_t divisor = 100) {
    return {min, max, divisor, 0, CTN_DONT_CARE};
  }

  ctn_shares& shares(Slot slot) override { return nodes_[slot].shares; }
  __u64& word(Slot slot) override {
    look();
    return nodes_.at(slot).word;
  }
  Slot parent(Slot slot) override {
    look();
    return nodes_.at(slot).parent;
  }
  std::vector<Slot> children(Slot slot) override {
    std::vector<Slot> out;
    for (const auto& [number, node] : nodes_)
      if (number != slot && node.parent == slot && node.there) out.push_back(number);
    return out;
  }
  void set_ceiling(Slot slot, std::uint32_t ceiling) override {
    nodes_[slot].shares.ceiling = ceiling;
  }
  std::uint32_t total() override { return total_; }
  void remove(Slot slot) { nodes_[slot].there = false; }

  std::uint32_t guarantee(Slot slot) { return nodes_[slot].shares.guarantee; }
  std::uint32_t ceiling(Slot slot) { return nodes_[slot].shares.ceiling; }
  std::uint32_t pool(Slot slot) { return share_pool(nodes_[slot].word); }
  std::int32_t usage(Slot slot) { return share_usage(nodes_[slot].word); }

  /* What a fork in the kernel does (numtasks_shares.bpf.h). */
  bool fork(Slot slot) {
    UnderWay now(*this);
    Slot lender = slot;
    __u64 digest = 0;
    __u64 before = 0;
    for (int rounds = 0;;) {
      __u64 old = __atomic_load_n(&word(lender), __ATOMIC_SEQ_CST);
      if (share_has_room(old)) {
        if (__sync_bool_compare_and_swap(&word(lender), old, old + CTN_ONE_SHARE)) break;
        continue;
      }
      digest = share_digest(digest, old);
      if (lender != 0) {
        lender = parent(lender);
        continue;
      }
      if ((rounds > 0 && digest == before) || ++rounds == CTN_SHARE_ROUNDS) return false;
      before = std::exchange(digest, 0);
      lender = slot;
    }
    Slot at = slot;
    while (at != lender && share_add(&word(at), 1) != 0) at = parent(at);
    if (at != lender) charge(*this, lender, -1);
    return true;
  }
  void exit(Slot slot) {
    UnderWay now(*this);
    charge(*this, slot, -1);
  }
  /* Twice, as who has read the epoch may count itself on its side after the first look. */
  void settle() override {
    settling = true;
    for (int i = 0; i < 2; i++)
      for (unsigned side = epoch_++ % 2; under_way_[side] != 0;) std::this_thread::yield();
  }

  /* Called in the middle of whatever is done to the tree, if set. */
  std::function<void()> watch;

  std::atomic<bool> settling{false}; /* settle() was called */

  /* A charge or give-back; what settle() waits for. */
  class UnderWay {
   public:
    explicit UnderWay(Memory& tree) : count_(tree.under_way_[tree.epoch_ % 2]) { count_++; }
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;
    ~UnderWay() { count_--; }

   private:
    std::atomic<int>& count_;
  };

 private:
  void look() {
    if (!watch) return;
    auto now = std::exchange(watch, nullptr);
    now();
    watch = std::move(now);
  }

  struct Node {
    ctn_shares shares;
    __u64 word;
    Slot parent;
    bool there;
  };
  std::map<Slot, Node> nodes_;
  std::uint32_t total_ = 0;
  std::atomic<unsigned> epoch_{0};
  std::array<std::atomic<int>, 2> under_way_ = {};
};

TEST(Shares, AmountsAreFlooredPartsOfTheParents) {
  struct Row {
    std::uint32_t min, max, divisor, guarantee, ceiling, expect_guarantee, expect_ceiling;
  };
  constexpr std::uint32_t no = CTN_DONT_CARE;
  for (const Row& row : {Row{30, 50, 100, 100, 100, 30, 50},
                         {33, 66, 100, 10, 10, 3, 6},
                         {1, 3, 3, 100, 100, 33, 100},
                         {no, no, 100, 100, 80, 0, 80},
                         {0, 0, 7, 100, 100, 0, 0},
                         {50, 50, 100, 0, 77, 0, 38},
                         {20, no, 100, 40, no, 8, no},
                         {20, 50, 100, 40, no, 8, no},
                         {4194304, 4194304, 4194304, 4194304, 4194304, 4194304, 4194304}}) {
    Amounts got = amounts(Memory::of(row.min, row.max), {row.guarantee, row.ceiling}, row.divisor);
    EXPECT_EQ(got.guarantee, row.expect_guarantee) << row.min << " of " << row.divisor;
    EXPECT_EQ(got.ceiling, row.expect_ceiling) << row.max << " of " << row.divisor;
  }
}

/* 1000 tasks; /1 has 40 of 100 and at most 60, and divides by 10: /1/3 4, /1/4 2, at most 5. */
TEST(Shares, ATreeWorkedByHand) {
  Memory tree(1000);
  tree.add(1, 0, Memory::of(40, 60, 10));
  tree.add(2, 0, Memory::of(25));
  tree.add(3, 1, Memory::of(4));
  tree.add(4, 1, Memory::of(2, 5));
  tree.add(5, 4, Memory::of(50, 50));
  tree.add(6, 2, Memory::of(CTN_DONT_CARE, 10));
  recalculate(tree, 0);
  EXPECT_EQ(tree.guarantee(1), 400u);
  EXPECT_EQ(tree.guarantee(2), 250u);
  EXPECT_EQ(tree.guarantee(3), 160u);
  EXPECT_EQ(tree.guarantee(4), 80u);
  EXPECT_EQ(tree.guarantee(5), 40u);
  EXPECT_EQ(tree.guarantee(6), 0u);
  EXPECT_EQ(tree.ceiling(1), 600u);
  EXPECT_EQ(tree.ceiling(2), CTN_DONT_CARE);
  EXPECT_EQ(tree.ceiling(3), CTN_DONT_CARE);
  EXPECT_EQ(tree.ceiling(4), 300u);
  EXPECT_EQ(tree.ceiling(5), 150u);
  EXPECT_EQ(tree.ceiling(6), 100u) << "below a parent without a ceiling counts that of the root";
  EXPECT_EQ(tree.pool(0), 350u);
  EXPECT_EQ(tree.pool(1), 160u);
  EXPECT_EQ(tree.pool(2), 250u);
  EXPECT_EQ(tree.pool(4), 40u);
  tree.shares(1).min = 20; /* all below it follow */
  recalculate(tree, 1);
  EXPECT_EQ(tree.guarantee(5), 20u);
  EXPECT_EQ(tree.pool(0), 550u);
  EXPECT_EQ(tree.pool(1), 80u);
}

TEST(Shares, RulesAreCheckedWithTheNumbers) {
  Memory tree(100);
  tree.add(1, 0, Memory::of(30, 50));
  tree.add(2, 0, Memory::of(60));
  tree.add(3, 1, Memory::of(80, 90));
  auto says = [&](Slot slot, const ctn_shares& wanted) {
    auto ok = check(tree, slot, wanted);
    EXPECT_TRUE(ok || ok.error().code == EINVAL);
    return ok ? std::string() : ok.error().what;
  };
  EXPECT_EQ(says(1, Memory::of(40)), "");
  EXPECT_EQ(says(1, Memory::of(41)),
            "min_shares 41 and the 60 of its siblings exceed the parent's "
            "child_shares_divisor 100");
  EXPECT_EQ(says(1, Memory::of(10, 101)),
            "max_shares 101 exceeds the parent's child_shares_divisor 100");
  EXPECT_EQ(says(1, Memory::of(10, 9)), "min_shares 10 exceeds max_shares 9");
  EXPECT_EQ(says(1, Memory::of(30, 50, 79)),
            "child_shares_divisor cannot be 79: the children's min_shares sum up to 80");
  EXPECT_EQ(says(1, Memory::of(30, 50, 85)),
            "child_shares_divisor cannot be 85: a child has max_shares 90");
  EXPECT_EQ(says(1, Memory::of(30, 50, 90)), "");
  EXPECT_EQ(says(0, Memory::of(CTN_DONT_CARE, CTN_DONT_CARE, 89)),
            "child_shares_divisor cannot be 89: the children's min_shares sum up to 90");
}

TEST(Shares, TextIsThatOf2006) {
  auto whole =
      parse("x.shares", "min_shares=30,max_shares=50,child_shares_divisor=200\n", Memory::none());
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(to_string(*whole), "min_shares=30,max_shares=50,child_shares_divisor=200");
  auto part = parse("x.shares", "max_shares=-3", *whole);
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(to_string(*part), "min_shares=30,max_shares=dontcare,child_shares_divisor=200");
  for (const char* bad :
       {"", "min_shares", "min_shares=", "min_shares=-1", "min_shares=1,", "min=3", "min_shares=1x",
        "child_shares_divisor=0", "child_shares_divisor=dontcare", "max_shares=4194305"}) {
    auto got = parse("x.shares", bad, Memory::none());
    ASSERT_FALSE(got.has_value()) << bad;
    EXPECT_EQ(got.error().code, EINVAL);
  }
}

/* The case of the specification: 30, 30 and none of 100. */
TEST(Shares, AGuaranteeGuaranteesAndTheRestIsLent) {
  Memory tree(100);
  tree.add(1, 0, Memory::of(30));
  tree.add(2, 0, Memory::of(30));
  tree.add(3, 0);
  recalculate(tree, 0);
  int third = 0;
  while (tree.fork(3)) third++;
  EXPECT_EQ(third, 40);
  for (Slot slot : {1u, 2u})
    for (int i = 0; i < 30; i++) EXPECT_TRUE(tree.fork(slot)) << slot << " task " << i;
  EXPECT_FALSE(tree.fork(1));
  tree.exit(3);
  EXPECT_TRUE(tree.fork(1));
  EXPECT_FALSE(tree.fork(3));
  EXPECT_EQ(share_borrowed(tree.word(1)), 1);
}

/* A word has room for every figure it may have, below zero too, and is never the same after a change. */
TEST(Shares, AWordHoldsItsFiguresAndTellsOfEveryChange) {
  __u64 word = share_next(0, 0, CTN_SHARES_HIGHEST);
  EXPECT_EQ(share_pool(word), CTN_SHARES_HIGHEST);
  share_add(&word, -3);
  EXPECT_EQ(share_usage(word), -3);
  EXPECT_EQ(share_pool(word), CTN_SHARES_HIGHEST);
  EXPECT_EQ(share_add(&word, CTN_SHARES_HIGHEST + 5), 2);
  EXPECT_EQ(share_usage(word), static_cast<int>(CTN_SHARES_HIGHEST) + 2);
  EXPECT_EQ(share_pool(word), CTN_SHARES_HIGHEST);
  for (__u64 at : {share_next(0, 0, 5), share_next(~0ULL, 1, 5), share_next(7, -1, 0)}) {
    __u64 moved = at;
    share_add(&moved, 1);
    share_add(&moved, -1);
    EXPECT_NE(moved, at);
    EXPECT_EQ(share_usage(moved), share_usage(at));
    EXPECT_EQ(share_pool(moved), share_pool(at));
    EXPECT_NE(share_next(at, share_usage(at), share_pool(at)), at);
    EXPECT_EQ(share_usage(at + CTN_ONE_SHARE), share_usage(at) + 1);
  }
}

/* A guarantee given while others hold all: it counts at once, and only borrowing is refused. */
TEST(Shares, AChangeDrainsByRefusingToLend) {
  Memory tree(10);
  tree.add(1, 0);
  tree.add(2, 0);
  recalculate(tree, 0);
  for (int i = 0; i < 10; i++) ASSERT_TRUE(tree.fork(2));
  tree.shares(1).min = 40;
  recalculate(tree, 1);
  for (int i = 0; i < 4; i++) EXPECT_TRUE(tree.fork(1));
  EXPECT_FALSE(tree.fork(1));
  for (int i = 0; i < 4; i++) {
    EXPECT_FALSE(tree.fork(2)) << i;
    tree.exit(2);
  }
  EXPECT_FALSE(tree.fork(2));
  tree.exit(2);
  EXPECT_TRUE(tree.fork(2));
  tree.remove(1);
  forsake(tree, 1); /* with four tasks in it: they are borrowed from now on */
  EXPECT_EQ(tree.usage(0), 10);
  for (int i = 0; i < 4; i++) tree.exit(1);
  EXPECT_EQ(tree.usage(0), 6);
  EXPECT_EQ(tree.pool(0), 10u);
}

/* Half-way through each change: who has room keeps it, and what is reserved is not lent. */
TEST(Shares, NoMomentOfAChangeIsWrong) {
  Memory tree(20);
  tree.add(1, 0, Memory::of(50));
  tree.add(2, 1, Memory::of(60));
  tree.add(3, 0);
  recalculate(tree, 0);
  for (int i = 0; i < 10; i++) ASSERT_TRUE(tree.fork(3)); /* all that can be lent */
  for (int i = 0; i < 6; i++) ASSERT_TRUE(tree.fork(2));
  for (int i = 0; i < 3; i++) ASSERT_TRUE(tree.fork(1)); /* 9 of the 10 that /1 has */
  int looks = 0;
  for (std::uint32_t min : {0u, 60u, 30u, 10u, 50u, 20u, 60u, 40u, 0u, 100u}) {
    tree.shares(2).min = min;
    tree.watch = [&, min] {
      looks++;
      EXPECT_FALSE(tree.fork(3)) << min;
      if (min == 100) return; /* /1 gives all of it away, and no more has room for itself */
      EXPECT_TRUE(tree.fork(1)) << min;
      EXPECT_FALSE(tree.fork(1)) << min;
      tree.exit(1);
    };
    recalculate(tree, 2);
    tree.watch = nullptr;
  }
  EXPECT_GT(looks, 50);
  EXPECT_EQ(tree.usage(0), 13) << "3 of /1, which has no pool of its own now";
}

/* /1 has 10: 4 of its own and 5 of /2, which are guaranteed there; the rest of the machine is full. */
struct TenOfTwenty : Memory {
  TenOfTwenty() : Memory(20) {
    add(1, 0, of(50));
    add(2, 1, of(50));
    add(3, 0);
    recalculate(*this, 0);
    for (int i = 0; i < 10; i++) EXPECT_TRUE(fork(3));
    for (int i = 0; i < 5; i++) EXPECT_TRUE(fork(2));
    for (int i = 0; i < 4; i++) EXPECT_TRUE(fork(1));
  }
};

/* /2 is full when it is looked at, and /1 when that is, but there never was a moment without room. */
TEST(Shares, LevelsThatWereNeverFullTogetherRefuseNothing) {
  TenOfTwenty tree;
  int looks = 0;
  tree.watch = [&] {
    if (++looks != 2) return; /* between the two */
    tree.exit(2);
    EXPECT_TRUE(tree.fork(1));
  };
  EXPECT_TRUE(tree.fork(2));
  EXPECT_GT(looks, 2);
  tree.watch = nullptr;
  EXPECT_FALSE(tree.fork(2));
  EXPECT_FALSE(tree.fork(1));
}

/* An exit of /2 is half-way: it is out of /2, and still counts in /1 what it had borrowed there. /2 is given
 * room for it meanwhile, and /1 may not lose that room before it has what it is due. */
TEST(Shares, AChangeWaitsForAnExitBetweenTwoLevels) {
  TenOfTwenty tree;
  ASSERT_TRUE(tree.fork(2)); /* borrowed of /1 */
  std::optional<Memory::UnderWay> exit(tree);
  ASSERT_EQ(share_add(&tree.word(2), -1), -1);
  tree.settling = false;
  std::atomic<bool> changed{false};
  std::thread change([&] {
    tree.shares(2).min = 60;
    recalculate(tree, 2);
    changed = true;
  });
  while (!changed && !tree.settling) std::this_thread::yield();
  tree.exit(1);
  EXPECT_TRUE(tree.fork(1)) << "its fourth";
  charge(tree, 1, -1);
  exit.reset();
  change.join();
  EXPECT_EQ(tree.pool(1), 4u);
  EXPECT_EQ(tree.usage(1), 4);
  EXPECT_TRUE(tree.fork(2)) << "its sixth";
  EXPECT_FALSE(tree.fork(1));
}

/* /1 is guaranteed 10 and needs 4 for itself; /2 below it holds up to 6, guaranteed or borrowed, as its
 * share goes up and down; everybody else wants all there is. Whoever is guaranteed is never refused. */
TEST(Shares, NobodyGuaranteedIsRefusedWhileSharesChange) {
  Memory tree(20);
  tree.add(1, 0, Memory::of(50));
  tree.add(2, 1, Memory::of(60));
  tree.add(3, 0);
  tree.add(4, 0, Memory::of(20));
  recalculate(tree, 0);
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::atomic<long> rounds{0};
  auto change = [&](Slot slot, std::uint32_t min) {
    tree.shares(slot).min = min;
    recalculate(tree, slot);
  };
  auto need = [&](Slot slot, int count) {
    for (; !stop; rounds++) {
      int got = 0;
      while (got < count && tree.fork(slot)) got++;
      if (got < count) refused++;
      while (got-- > 0) tree.exit(slot);
    }
  };
  std::thread own(need, 1, 4);
  std::thread child(need, 2, 6);
  std::thread greedy([&] {
    while (!stop) {
      int got = 0;
      while (!stop && got < 10 && tree.fork(3)) got++;
      while (got-- > 0) tree.exit(3);
    }
  });
  std::mt19937 random(5);
  for (int i = 0; i < 1000 || rounds < 1000; i++) {
    change(2, random() % 61);
    change(4, random() % 30);
  }
  stop = true;
  own.join();
  child.join();
  greedy.join();
  EXPECT_EQ(refused, 0) << "of " << rounds;
  for (Slot slot : {0u, 1u, 2u, 3u, 4u}) EXPECT_EQ(tree.usage(slot), 0) << slot;
}

/* Forks and exits everywhere, while guarantees change: when all is quiet each word is what a recount
 * makes it, and at no moment were more tasks let in than the total and what changes cost. */
TEST(Shares, WordsAreExactAfterAStorm) {
  constexpr std::uint32_t kTotal = 64;
  Memory tree(kTotal);
  tree.add(1, 0, Memory::of(30, CTN_DONT_CARE, 10));
  tree.add(2, 0, Memory::of(20));
  tree.add(3, 1, Memory::of(5));
  tree.add(4, 1, Memory::of(3));
  tree.add(5, 3, Memory::of(100));
  recalculate(tree, 0);
  std::map<Slot, std::atomic<int>> own;
  for (Slot slot = 1; slot <= 5; slot++) own[slot] = 0;
  std::atomic<bool> stop{false};
  auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    std::vector<Slot> mine;
    while (!stop) {
      Slot slot = 1 + random() % 5;
      if (random() % 2 == 0 && tree.fork(slot)) {
        mine.push_back(slot);
        own[slot]++;
      } else if (!mine.empty()) {
        tree.exit(mine.back());
        own[mine.back()]--;
        mine.pop_back();
      }
    }
  };
  std::thread one(work, 1);
  std::thread two(work, 2);
  std::mt19937 random(3);
  for (int i = 0; i < 20000; i++) {
    tree.shares(1).min = random() % 60;
    tree.shares(3).min = random() % 7;
    recalculate(tree, 1);
  }
  stop = true;
  one.join();
  two.join();
  std::map<Slot, std::int64_t> usage;
  for (Slot slot = 5; slot >= 1; slot--) {
    usage[slot] += own[slot];
    EXPECT_EQ(tree.usage(slot), usage[slot]) << slot;
    usage[tree.parent(slot)] += share_borrowed(tree.word(slot));
  }
  EXPECT_EQ(tree.usage(0), usage[0]);
}

}  // namespace
}  // namespace ctnbpf::shares
