/* The tree over plain memory: looking up, making, removing and mending, without a kernel. */
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "plain_state.h"

namespace ctnbpf {
namespace {

using test::PlainState;

/* What the tree is to be: paths, of a hierarchy `h`. */
class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) {}

  /* One change at random, of the tree and of the model alike. */
  void change(Writer& writer) {
    switch (pick(4)) {
      case 0: return remove(writer);
      case 1: return rename(writer);
      default: return make(writer);
    }
  }

  void expect_same(const State& state) const {
    ASSERT_EQ(tree::check(state), std::vector<std::string>());
    for (const std::string& path : paths_) {
      auto slot = tree::find(state, "h:" + path);
      ASSERT_TRUE(slot.has_value()) << path;
      ASSERT_EQ(tree::path_of(state, *slot), path);
      std::set<std::string> below;
      for (Slot child : tree::children(state, *slot)) below.insert(tree::path_of(state, child));
      ASSERT_EQ(below, children(path));
    }
    ASSERT_EQ(load(state.core().containers), paths_.size() - 1);
  }

 private:
  unsigned pick(unsigned of) { return static_cast<unsigned>(random_() % of); }
  const std::string& any() { return *std::next(paths_.begin(), pick(paths_.size())); }
  static std::string below(const std::string& path, const std::string& name) {
    return (path == "/" ? "" : path) + "/" + name;
  }
  /* Few, so that they are often there already; some with bytes that are not letters. */
  std::string name() {
    static const std::vector<std::string> kNames = {"a", "b", "c", "a b", "\xc3\xa9", "..."};
    return kNames[pick(kNames.size())];
  }
  std::set<std::string> children(const std::string& path) const {
    std::set<std::string> found;
    for (const std::string& one : paths_)
      if (one != "/" && std::max(one.substr(0, one.rfind('/')), std::string("/")) == path)
        found.insert(one);
    return found;
  }

  void make(Writer& writer) {
    std::string parent = any();
    std::string its = name();
    bool room = std::count(parent.begin(), parent.end(), '/') < CTN_MAX_DEPTH;
    auto made = tree::create(writer, *tree::find(writer, "h:" + parent), its);
    ASSERT_EQ(made.has_value(), room && !paths_.contains(below(parent, its)));
    if (made) paths_.insert(below(parent, its));
  }
  void remove(Writer& writer) {
    std::string path = any();
    auto gone = tree::remove(writer, *tree::find(writer, "h:" + path), false);
    ASSERT_EQ(gone.has_value(), path != "/" && children(path).empty());
    if (gone) paths_.erase(path);
  }
  void rename(Writer& writer) {
    std::string path = any();
    std::string to = path.substr(0, path.rfind('/') + 1) + name();
    auto done =
        tree::rename(writer, *tree::find(writer, "h:" + path), to.substr(to.rfind('/') + 1));
    ASSERT_EQ(done.has_value(), path != "/" && (to == path || !paths_.contains(to)));
    if (!done || to == path) return;
    std::set<std::string> now;
    for (const std::string& one : paths_)
      now.insert(one == path || one.starts_with(path + "/") ? to + one.substr(path.size()) : one);
    paths_ = std::move(now);
  }

  std::mt19937 random_;
  std::set<std::string> paths_{"/"};
};

Writer with_hierarchy(const PlainState& plain, const std::vector<std::string>& subsystems = {}) {
  Writer writer = plain.writer();
  EXPECT_TRUE(tree::create_hierarchy(writer, "h", subsystems).has_value());
  return writer;
}

TEST(Tree, AnyChangesLeaveWhatTheyShould) {
  for (unsigned seed = 1; seed <= 20; seed++) {
    PlainState plain(512);
    Writer writer = with_hierarchy(plain, {"numtasks", "numfiles"});
    Model model(seed);
    for (int i = 0; i < 200; i++) ASSERT_NO_FATAL_FAILURE(model.change(writer)) << seed;
    ASSERT_NO_FATAL_FAILURE(model.expect_same(plain.state())) << seed;
  }
}

/* All that is derived may be anything: what is true is enough to make it anew. */
TEST(Tree, WhatIsDerivedIsMadeAnewFromWhatIsTrue) {
  for (unsigned seed = 1; seed <= 20; seed++) {
    PlainState plain(512);
    Writer writer = with_hierarchy(plain, {"numtasks"});
    Model model(seed);
    for (int i = 0; i < 150; i++) ASSERT_NO_FATAL_FAILURE(model.change(writer));
    std::mt19937 random(seed);
    auto junk = [&] { return static_cast<std::uint32_t>(random() % writer.core().high_slot); };
    for (Slot slot = 0; slot < writer.core().high_slot; slot++) {
      ctn_node& node = writer.nodes()[slot];
      node.first_child = junk();
      node.next_sibling = junk();
      node.prev_sibling = junk();
      node.hash_next = junk();
      node.children = junk();
      node.dependants = junk();
    }
    for (std::uint64_t& head : writer.name_index()) head = junk();
    writer.core().free_list = junk();
    writer.core().containers = junk();
    writer.core().lingering = junk();
    EXPECT_FALSE(tree::check(writer).empty());
    tree::rebuild(writer);
    ASSERT_NO_FATAL_FAILURE(model.expect_same(writer)) << seed;
    for (int i = 0; i < 100; i++) ASSERT_NO_FATAL_FAILURE(model.change(writer));
    ASSERT_NO_FATAL_FAILURE(model.expect_same(writer)) << seed;
  }
}

TEST(Tree, ARenameThatWasBegunIsFinished) {
  PlainState plain;
  Writer writer = with_hierarchy(plain);
  Slot a = *tree::create(writer, 0, "a");
  ctn_pending_text& pending = writer.core().pending;
  pending.index = a;
  std::string("b").copy(pending.text, CTN_NAME_MAX);
  pending.what = CTN_PENDING_RENAME;
  tree::apply_pending(writer);
  EXPECT_EQ(*tree::find(writer, "h:/b"), a);
  EXPECT_FALSE(tree::find(writer, "h:/a").has_value());
  EXPECT_EQ(tree::check(writer), std::vector<std::string>());
}

TEST(Tree, ItIsFullWhenAllSlotsAreUsedAndThenRemovedOnesAreUsedAgain) {
  PlainState plain(16);
  Writer writer = with_hierarchy(plain);
  std::vector<Slot> made;
  for (int i = 0; i < 16; i++) made.push_back(*tree::create(writer, 0, std::to_string(i)));
  auto more = tree::create(writer, 0, "one more");
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code, ENOSPC);
  std::uint32_t before = writer.nodes()[made[3]].generation;
  ASSERT_TRUE(tree::remove(writer, made[3], false).has_value());
  EXPECT_EQ(*tree::create(writer, 0, "one more"), made[3]);
  EXPECT_NE(writer.nodes()[made[3]].generation, before);
}

TEST(Tree, WhatOneRefusesTheOthersTakeBack) {
  PlainState plain;
  Writer writer = with_hierarchy(plain, {"numtasks", "numfiles"});
  Slot a = *tree::create(writer, 0, "a");
  auto set = set_attributes(writer, a,
                            {"numtasks.limit=7", "numfiles.limit=9", "numfiles.barrier=10"}, false);
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code, EINVAL);
  for (const char* name : {"numtasks.limit", "numfiles.limit", "numfiles.barrier"}) {
    auto ref = find_attribute(writer, a, name);
    ASSERT_TRUE(ref.has_value());
    EXPECT_EQ(to_string(*ref->attribute->read(writer, a)), "max") << name;
  }
}

/* A hierarchy that shares out its tasks keeps the rules of shares whatever is asked for. */
TEST(Tree, SharesKeepTheirRulesWhateverIsAskedFor) {
  for (unsigned seed = 1; seed <= 4; seed++) {
    std::mt19937 random(seed);
    PlainState plain(32);
    Writer writer = with_hierarchy(plain, {"numtasks"});
    ASSERT_TRUE(set_attributes(writer, 0, {"numtasks.total_numtasks=1000"}, false).has_value());
    std::vector<Slot> all{0};
    for (int i = 0; i < 300; i++) {
      Slot at = all[random() % all.size()];
      if (random() % 3 == 0) {
        if (auto made = tree::create(writer, at, std::to_string(i))) all.push_back(*made);
        continue;
      }
      (void)set_attributes(writer, at,
                           {"numtasks.shares=min_shares=" + std::to_string(random() % 60) +
                            ",max_shares=" + std::to_string(random() % 120)},
                           false);
    }
    const Subsystem* numtasks = find_subsystem("numtasks");
    std::vector<std::uint64_t> nobody(writer.nodes().size());
    auto wrong = numtasks->check(writer, nobody);
    ASSERT_TRUE(wrong.has_value());
    EXPECT_EQ(*wrong, std::vector<std::string>()) << seed;
  }
}

}  // namespace
}  // namespace ctnbpf
