/* What is shown is what the kernel lets tasks use; CPUs that somebody else has for itself alone are an
 * error that says whose they are. */
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kOwner = "/ctnbpf-test-owner";

class Granted : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) need_cpus(2);
    if (!IsSkipped()) use_driver(GetParam());
    if (IsSkipped()) return;
    v1_ = GetParam() == std::string("cgroup1");
    if (!v1_ && !group_driver()) CTN_SKIP("no cpuset controller of cgroup v2");
    std::ifstream file(cgroup_root() + "/cgroup.subtree_control");
    for (std::string word; file >> word;) was_on_ = was_on_ || word == "cpuset";
  }
  void TearDown() override {
    release();
    PlacementTest::TearDown();
  }
  /* CPU 1 is from now on for this group alone. */
  void take() {
    std::filesystem::create_directory(cgroup_root() + kOwner);
    if (!v1_) write_group("/cgroup.subtree_control", "+cpuset");
    write_group(kOwner + std::string("/cpuset.cpus"), "1");
    write_group(kOwner + std::string(v1_ ? "/cpuset.cpu_exclusive" : "/cpuset.cpus.partition"),
                v1_ ? "1" : "root");
    taken_ = true;
  }
  void release() {
    if (!taken_) return;
    taken_ = false;
    EXPECT_TRUE(eventually([&] { return ::rmdir((cgroup_root() + kOwner).c_str()) == 0; }));
    if (!v1_ && !was_on_) std::ofstream(cgroup_root() + "/cgroup.subtree_control") << "-cpuset";
  }
  bool v1_ = false;

 private:
  bool was_on_ = false;
  bool taken_ = false;
};
INSTANTIATE_TEST_SUITE_P(Placement, Granted, ::testing::Values("affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(Granted, AnErrorNamesWhoHasTheCpu) {
  take();
  bool affinity = GetParam() == std::string("affinity");
  auto refused = ctnbpf({"run", "--cpus", "1", "--", "true"});
  EXPECT_EQ(refused.code, 125) << refused.out;
  EXPECT_NE(refused.err.find(kOwner), std::string::npos) << refused.err;
  create("p:/a", {"cpuset.cpus=0"});
  /* By affinity the kernel says it of each task; of those that are in that group it does not. */
  EXPECT_EQ(try_set("p:/a", "cpuset.cpus=0-1"), affinity ? 0 : EBUSY);
  EXPECT_EQ(text("p:/a", "cpuset.cpus"), affinity ? "0-1" : "0");
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "0");
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "0");
  if (affinity) {
    EXPECT_NE(ctnbpf({"tree", "p:/"}).out.find("cpus 0-1 (now 0)"), std::string::npos);
  }
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
}

/* Somebody takes a CPU that members have. */
TEST_P(Granted, WhatIsTakenLaterIsShown) {
  if (v1_) return; /* there the kernel refuses it */
  create("p:/a", {"cpuset.cpus=1"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "1");
  take();
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), mask(task));
  auto found = ctnbpf({"fsck"});
  if (mask(task) != "1") {
    EXPECT_EQ(found.code, 1);
    if (GetParam() == std::string("cgroup")) {
      EXPECT_NE(found.out.find(kOwner), std::string::npos) << found.out;
    }
  }
  release();
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_EQ(mask(task), "1");
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "1");
}

/* A mask outside of the set is shown, and a set that a task's own group does not have whole is not. */
TEST_P(Granted, MasksAndGroupsAreRead) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  if (GetParam() == std::string("affinity")) {
    corrupt_in_force("p:/a", "0-1");
    EXPECT_EQ(set_mask("1", task.pid()), 0);
    corrupt_in_force("p:/a", "0");
    EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "0-1");
  } else {
    write_group(group_of(task.pid()) + "/cpuset.cpus", "1");
    EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "1");
  }
  EXPECT_NE(ctnbpf({"tree", "p:/"}).out.find("(now "), std::string::npos);
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "0");
}

/* The pins cannot be taken away: nobody has been let go when `down` says so, and what is shown was
 * true all the while. */
TEST_P(Granted, DownThatFailsHoldsAll) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  std::string root = pins().root() + "/maps"; /* cannot be moved while something is mounted there */
  ASSERT_EQ(::mount(root.c_str(), root.c_str(), nullptr, MS_BIND, nullptr), 0);
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread watcher([&] {
    while (!stop) {
      std::string before = text("p:/a", "cpuset.effective_cpus");
      std::string real = mask(task);
      std::string after = text("p:/a", "cpuset.effective_cpus");
      wrong += before == after && real != before;
    }
  });
  auto failed = ctnbpf({"down", "--force"});
  stop = true;
  watcher.join();
  EXPECT_EQ(failed.code, 1);
  EXPECT_NE(failed.err.find("move '"), std::string::npos) << failed.err;
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(text("p:/a", "cpuset.effective_cpus"), "0");
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
  ASSERT_EQ(::umount(root.c_str()), 0);
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(ctnbpf({"down", "--force"}).code, 0);
  EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online());
}

}  // namespace
}  // namespace ctnbpf::test
