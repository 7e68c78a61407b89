/* What the group drivers do to the cgroup tree: what is left of it, what fsck finds, what it mends. */
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOuter = "/ctnbpf-test-outer";
constexpr const char* kInner = "/ctnbpf-test-outer/inner";

class EachGroupDriver : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) need_cpus(2);
    if (!IsSkipped()) use_driver(GetParam());
    if (IsSkipped()) return;
    make_group(kOuter);
    make_group(kInner);
  }
  void TearDown() override {
    for (const char* group : {kInner, kOuter}) {
      /* A task that was killed is in it for a moment more. */
      EXPECT_TRUE(eventually(
          [&] { return ::rmdir((cgroup_root() + group).c_str()) == 0 || errno == ENOENT; }));
    }
    PlacementTest::TearDown();
  }

  void put(const Background& task, const std::string& group) const {
    smuggle(task.pid(), group);
    ASSERT_EQ(group_of(task.pid()), group.empty() ? "/" : group);
  }
  /* The group of the pair that is in use. */
  std::string group_in(const Background& task) const {
    std::string group = group_of(task.pid());
    EXPECT_EQ(group.rfind("/ctnbpf/from-", 0), 0u) << group;
    return group;
  }
  /* fsck finds it, mends it, and then finds nothing. */
  static void expect_found_and_mended(const std::string& problem) {
    auto found = ctnbpf({"fsck"});
    EXPECT_EQ(found.code, 1);
    EXPECT_NE(found.out.find(problem), std::string::npos) << found.out;
    auto mended = ctnbpf({"fsck", "--repair"});
    EXPECT_EQ(mended.code, 0) << mended.out << mended.err;
    EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
  }
};
INSTANTIATE_TEST_SUITE_P(Placement, EachGroupDriver, ::testing::Values("cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

/* Out of a container, and children too, a task is in the group again that it came from. */
TEST_P(EachGroupDriver, TasksGoBackWhereTheyCameFrom) {
  create("p:/a", {"cpuset.cpus=0"});
  Background inner([] { return ::pause(); });
  Background outer([] { return ::pause(); });
  Background root([] { return ::pause(); });
  put(inner, kInner);
  put(outer, kOuter);
  put(root, "");
  int tidings[2] = {};
  ASSERT_EQ(::pipe(tidings), 0);
  Background parent([&] {
    char go = 0;
    if (::read(tidings[0], &go, 1) != 1) return 1;
    Background child([] { return ::pause(); });
    return ::pause();
  });
  put(parent, kInner);
  for (const Background* one : {&inner, &outer, &root, &parent}) attach_pid("p:/a", one->pid());
  ASSERT_EQ(::write(tidings[1], "g", 1), 1);
  for (int end : tidings) ::close(end);
  pid_t child = 0;
  std::string children = fmt::format("/proc/{0}/task/{0}/children", parent.pid());
  ASSERT_TRUE(eventually([&] { return static_cast<bool>(std::ifstream(children) >> child); }));
  group_in(inner);
  EXPECT_EQ(group_of(child), group_in(parent));

  /* One change, and all are placed, wherever they came from. */
  set("p:/a", {"cpuset.cpus=1"});
  for (const Background* one : {&inner, &outer, &root, &parent}) EXPECT_EQ(mask(*one), "1");

  attach_pid("p:/", child);
  EXPECT_EQ(group_of(child), kInner);
  attach_pid("p:/", inner.pid());
  EXPECT_EQ(group_of(inner.pid()), kInner);
  take_all_down();
  EXPECT_EQ(group_of(parent.pid()), kInner);
  EXPECT_EQ(group_of(outer.pid()), kOuter);
  EXPECT_EQ(group_of(root.pid()), "/");
  EXPECT_EQ(affinity::mask_of_thread(outer.pid()), kCpus.online());
  EXPECT_FALSE(fs::exists(top_group()));
  ::kill(child, SIGKILL);
}

/* That group is gone: the nearest above it. */
TEST_P(EachGroupDriver, ElseToTheNearestGroupAbove) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  put(task, kInner);
  attach_pid("p:/a", task.pid());
  EXPECT_TRUE(eventually([&] { return ::rmdir((cgroup_root() + kInner).c_str()) == 0; }));
  attach_pid("p:/", task.pid());
  EXPECT_EQ(group_of(task.pid()), kOuter);
}

/* ... that takes a process: one that passes controllers on to groups below does not. */
TEST_P(EachGroupDriver, ElseToTheNearestThatTakesIt) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  put(task, kInner);
  attach_pid("p:/a", task.pid());
  EXPECT_TRUE(eventually([&] { return ::rmdir((cgroup_root() + kInner).c_str()) == 0; }));
  bool v2 = std::string(GetParam()) == "cgroup";
  bool memory = false;
  if (v2) {
    std::ifstream file("/sys/fs/cgroup/cgroup.subtree_control");
    for (std::string word; file >> word;) memory = memory || word == "memory";
    write_group("/cgroup.subtree_control", "+memory");
    write_group(std::string(kOuter) + "/cgroup.subtree_control", "+memory");
  }
  attach_pid("p:/", task.pid());
  EXPECT_EQ(group_of(task.pid()), v2 ? "/" : kOuter);
  if (v2) {
    write_group(std::string(kOuter) + "/cgroup.subtree_control", "-memory");
    if (!memory) write_group("/cgroup.subtree_control", "-memory");
  }
}

/* --- fsck --- */

TEST_P(EachGroupDriver, FsckMendsAChangedGroup) {
  create("p:/a", {"cpuset.cpus=0", "memset.mems=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  std::string group = group_in(task);
  write_group(group + "/cpuset.cpus", "1");
  EXPECT_EQ(mask(task), "1");
  expect_found_and_mended(fmt::format("group '{}' has CPUs '1', its container makes it '0'",
                                      group.substr(std::strlen("/ctnbpf/"))));
  EXPECT_EQ(mask(task), "0");
  if (kNodes.online().count() < 2) return;
  write_group(group + "/cpuset.mems", "0-1");
  expect_found_and_mended("has nodes '0-1', its container makes it '0'");
  EXPECT_EQ(status_of(task.pid(), "Mems_allowed_list"), "0");
}

TEST_P(EachGroupDriver, FsckPutsAMemberBack) {
  create("p:/a", {"cpuset.cpus=0"});
  create("p:/b", {"cpuset.cpus=1"});
  Background task([] { return ::pause(); });
  Background other([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  attach_pid("p:/b", other.pid());
  put(task, kInner);
  expect_found_and_mended(fmt::format("task {} is in no group of ours", task.pid()));
  EXPECT_EQ(mask(task), "0");
  put(task, group_in(other));
  expect_found_and_mended(fmt::format("task {} is in group '{}' of ours, and belongs in '",
                                      task.pid(), group_in(other).substr(std::strlen("/ctnbpf/"))));
  EXPECT_EQ(mask(task), "0");
}

TEST_P(EachGroupDriver, FsckTakesStrangersOut) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  Background stranger([] { return ::pause(); });
  put(task, kInner);
  attach_pid("p:/a", task.pid());
  put(stranger, group_in(task));
  expect_found_and_mended(
      fmt::format("has task {}, which is in no container of its", stranger.pid()));
  EXPECT_EQ(group_of(stranger.pid()), kInner);
}

/* Groups that no hierarchy uses any more, with or without someone in them. */
TEST_P(EachGroupDriver, FsckRemovesGroupsLeftBehind) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  put(task, kInner);
  attach_pid("p:/a", task.pid());
  std::string group = group_in(task);
  std::string home = fs::path(group).parent_path();
  attach_pid("p:/", task.pid());
  remove_once_free("p:/a");
  EXPECT_EQ(ctnbpf({"hierarchy", "destroy", "p"}).code, 0);
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
  EXPECT_FALSE(fs::exists(top_group()));

  for (bool inside : {false, true}) {
    if (std::string(GetParam()) == "cgroup") write_group("/cgroup.subtree_control", "+cpuset");
    for (const std::string& made : {std::string("/ctnbpf"), home, group}) make_group(made);
    if (inside) put(task, group);
    expect_found_and_mended(fmt::format("group '{}' is left behind", group));
    EXPECT_FALSE(fs::exists(top_group()));
    EXPECT_EQ(group_of(task.pid()), inside ? "/" : kInner); /* no home says where it came from */
  }
}

/* --- cgroup v2: the controller is switched on for us, and off again --- */

class Switch : public PlacementTest {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) use_driver("cgroup");
    if (IsSkipped()) return;
    if (on()) write_group("/cgroup.subtree_control", "-cpuset");
    ASSERT_FALSE(on());
  }
  static bool on() {
    std::ifstream file("/sys/fs/cgroup/cgroup.subtree_control");
    for (std::string word; file >> word;)
      if (word == "cpuset") return true;
    return false;
  }
  void use() {
    create("p:/a", {"cpuset.cpus=0"});
    {
      Background task = start_in("p:/a", [] { return ::pause(); });
      EXPECT_TRUE(on());
    }
    remove_once_free("p:/a");
  }
  static void end() { EXPECT_EQ(ctnbpf({"hierarchy", "destroy", "p"}).code, 0); }
};

TEST_F(Switch, IsOffAgainWithTheHierarchy) {
  use();
  EXPECT_TRUE(on()); /* not with each container: turning it is dear */
  end();
  EXPECT_FALSE(on());
}

TEST_F(Switch, IsOffAgainWhenAllIsTakenDown) {
  use();
  take_all_down();
  EXPECT_FALSE(on());
}

TEST_F(Switch, StaysOnIfItWasOn) {
  write_group("/cgroup.subtree_control", "+cpuset");
  use();
  end();
  EXPECT_TRUE(on());
  write_group("/cgroup.subtree_control", "-cpuset");
}

/* Another group has a list of its own, or passes the controller on. */
TEST_F(Switch, StaysOnForOthers) {
  for (std::string how : {"/cpuset.cpus", "/cgroup.subtree_control"}) {
    if (!exists("p:/")) {
      ASSERT_EQ(ctnbpf({"hierarchy", "create", "p", "-o", "cpuset", "--placement", "cgroup"}).code,
                0);
    }
    use();
    make_group("/ctnbpf-test-other");
    write_group("/ctnbpf-test-other" + how, how == "/cpuset.cpus" ? "0" : "+cpuset");
    end();
    EXPECT_TRUE(on()) << how;
    ::rmdir("/sys/fs/cgroup/ctnbpf-test-other");
    write_group("/cgroup.subtree_control", "-cpuset");
  }
}

/* A command that was killed between switching it on and what comes then: fsck finds that, too. */
TEST_F(Switch, FsckTurnsItBack) {
  use();
  ASSERT_TRUE(on());
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    /* As if `hierarchy destroy` had not come to unbind. */
    for (const char* name : {"cpuset", "memset"})
      writer->core().bound[find_subsystem(name)->id] = 0;
  }
  auto found = ctnbpf({"fsck"});
  EXPECT_EQ(found.code, 1);
  EXPECT_NE(found.out.find("the cpuset controller is on"), std::string::npos) << found.out;
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_FALSE(on());
}

}  // namespace
}  // namespace ctnbpf::test
