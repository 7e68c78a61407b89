/* The rules of sets, over a tree that is made up. */
#include "placement/rules.h"

#include <gtest/gtest.h>

#include <map>

namespace ctnbpf {
namespace {

constexpr Slot kRoot = 0;

class Rules : public ::testing::Test {
 protected:
  struct Node {
    Slot parent;
    IndexSet own;
    bool exclusive;
  };

  Rules() {
    tree_.subsystem = "cpuset";
    tree_.list = "cpus";
    tree_.exclusive_name = "cpu_exclusive";
    tree_.own = [this](Slot slot) { return nodes_.at(slot).own; };
    tree_.exclusive = [this](Slot slot) { return nodes_.at(slot).exclusive; };
    tree_.parent = [this](Slot slot) { return nodes_.at(slot).parent; };
    tree_.name = [](Slot slot) { return "c" + std::to_string(slot); };
    tree_.children = [this](Slot parent) {
      std::vector<Slot> out;
      for (const auto& [slot, node] : nodes_)
        if (slot != kRoot && node.parent == parent) out.push_back(slot);
      return out;
    };
    add(kRoot, kRoot, "0-7", true);
  }

  static IndexSet set(const char* list) { return *parse_index_set("x", list, 1024); }
  void add(Slot slot, Slot parent, const char* own, bool exclusive = false) {
    nodes_[slot] = {parent, set(own), exclusive};
  }
  int check(Slot slot, const char* wanted, const char* online = "0-7") {
    auto done = check_set(tree_, slot, set(wanted), set(online));
    said_ = done ? "" : done.error().what;
    return done ? 0 : done.error().code;
  }
  int exclusive(Slot slot, bool wanted) {
    auto done = check_exclusive(tree_, slot, wanted);
    said_ = done ? "" : done.error().what;
    return done ? 0 : done.error().code;
  }

  std::map<Slot, Node> nodes_;
  SetTree tree_;
  std::string said_;
};

TEST_F(Rules, SomethingHasToBeOnline) {
  add(1, kRoot, "");
  EXPECT_EQ(check(1, "0-3"), 0);
  EXPECT_EQ(check(1, "0-3", "3"), 0);
  EXPECT_EQ(check(1, "0-3", "4-7"), EINVAL);
  EXPECT_EQ(said_, "cpuset.cpus cannot be '0-3': nothing of it is online, 4-7 is");
  EXPECT_EQ(check(1, "900"), EINVAL); /* not EACCES, though the root has not got it either */
}

TEST_F(Rules, SubsetOfWhatIsAbove) {
  add(1, kRoot, "0-3");
  add(2, 1, "");
  add(3, 2, "");
  EXPECT_EQ(check(3, "0-3"), 0);
  EXPECT_EQ(check(3, "0-4"), EACCES); /* by the grandparent, as the parent inherits */
  EXPECT_EQ(said_, "cpuset.cpus of c3 cannot be '0-4': c1 above it has '0-3' only");
  EXPECT_EQ(check(1, "0-900"), EACCES);
}

TEST_F(Rules, NotLessThanWhatIsBelow) {
  add(1, kRoot, "0-3");
  add(2, 1, "");
  add(3, 2, "2-3");
  EXPECT_EQ(check(1, "2-3"), 0);
  EXPECT_EQ(check(1, "0-2"), EBUSY); /* the grandchild, through a child that inherits */
  EXPECT_NE(said_.find("c3 below it has '2-3'"), std::string::npos);
  EXPECT_EQ(check(1, ""), 0); /* inherits more */
  add(4, 1, "0-1");
  add(5, 4, "0");
  EXPECT_EQ(check(4, ""), 0);
}

TEST_F(Rules, ExclusiveSetsMeetNoSiblings) {
  add(1, kRoot, "0-3", true);
  add(2, kRoot, "");
  EXPECT_EQ(check(2, "4-7"), 0);
  EXPECT_EQ(check(2, "3-4"), EINVAL); /* the other is exclusive */
  EXPECT_NE(said_.find("would share cpus 3"), std::string::npos);
  add(2, kRoot, "4-7");
  EXPECT_EQ(check(1, "0-4"), EINVAL); /* it is exclusive itself */
  add(1, kRoot, "0-4", false);
  EXPECT_EQ(exclusive(1, true), EINVAL);
  EXPECT_EQ(exclusive(2, true), EINVAL);
  add(2, kRoot, "5-7");
  EXPECT_EQ(exclusive(1, true), 0);
}

/* Two that are not exclusive share what they like. */
TEST_F(Rules, OthersMayOverlap) {
  add(1, kRoot, "0-3");
  add(2, kRoot, "");
  EXPECT_EQ(check(2, "0-7"), 0);
}

TEST_F(Rules, InheritingContainersClaimWhatIsBelowThem) {
  add(1, kRoot, "", true);
  add(2, 1, "0-1");
  add(3, kRoot, "");
  EXPECT_EQ(check(3, "1-2"), EINVAL); /* c1 is exclusive, and 0-1 are taken below it */
  EXPECT_EQ(check(3, "2"), 0);
  add(3, kRoot, "2");
  EXPECT_EQ(check(2, "0-2"), EINVAL); /* the same from below */
  EXPECT_EQ(check(2, "0,3"), 0);
}

TEST_F(Rules, ExclusiveNeedsAnExclusiveParent) {
  add(1, kRoot, "0-3");
  add(2, 1, "0");
  EXPECT_EQ(exclusive(2, true), EACCES);
  EXPECT_EQ(exclusive(1, true), 0);
  add(1, kRoot, "0-3", true);
  EXPECT_EQ(exclusive(2, true), 0);
  add(2, 1, "0", true);
  EXPECT_EQ(exclusive(1, false), EBUSY);
  EXPECT_NE(said_.find("c2 below it is exclusive"), std::string::npos);
  EXPECT_EQ(exclusive(2, false), 0);
}

TEST_F(Rules, WhatIsInForce) {
  add(1, kRoot, "0-3");
  add(2, 1, "");
  add(3, 2, "1");
  auto force = [&](Slot slot, const char* online) {
    return set_in_force(tree_, slot, set(online)).to_string();
  };
  EXPECT_EQ(force(3, "0-7"), "1");
  EXPECT_EQ(force(3, "0,2-7"), "0-3"); /* its CPU is offline: that of the nearest with one online */
  EXPECT_EQ(force(2, "0-7"), "0-3");
  EXPECT_EQ(force(2, "0,7"), "0-3"); /* the whole set: what is offline comes back by itself */
  EXPECT_EQ(force(3, "7"), "0-7");
  EXPECT_EQ(force(kRoot, "7"), "0-7");
}

}  // namespace
}  // namespace ctnbpf
