/* Nobody outside of all containers notices what placement does: the masks of all tasks of the machine
 * before and after each command. */
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kService = "/ctnbpf-test.service";
constexpr const char* kPlain = "/ctnbpf-test-plain";

/* By thread: what it may use of what is online. */
using Masks = std::map<std::string, std::string>;

class Outside : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped() && !fs::exists(kRoot + "/cgroup.procs"))
      CTN_SKIP("no cgroup v2 is mounted there");
    if (!IsSkipped()) need_cpus(2);
    if (!IsSkipped() && GetParam() == std::string("cgroup1")) use_driver("cgroup1");
    if (IsSkipped()) return;
    if (GetParam() == std::string("cgroup") && !group_driver())
      CTN_SKIP("no cpuset controller of cgroup v2");
    take_all_down();
    if (on()) write("/cgroup.subtree_control", "-cpuset");
    for (const char* group : {kService, kPlain}) fs::create_directory(kRoot + group);
  }
  void TearDown() override {
    if (!fs::exists(kRoot + "/cgroup.procs")) return PlacementTest::TearDown();
    for (const char* group : {kService, kPlain})
      EXPECT_TRUE(
          eventually([&] { return ::rmdir((kRoot + group).c_str()) == 0 || errno == ENOENT; }));
    PlacementTest::TearDown();
  }
  static bool on() {
    std::ifstream file(kRoot + "/cgroup.subtree_control");
    for (std::string word; file >> word;)
      if (word == "cpuset") return true;
    return false;
  }
  static void write(const std::string& file, const std::string& text) {
    std::ofstream out(kRoot + file);
    out << text << std::flush;
    EXPECT_TRUE(out.good()) << text << " to " << file;
  }
  static Background sleeper(const std::string& group, const std::string& cpus) {
    Background task([] { return ::pause(); });
    if (!group.empty()) write(group + "/cgroup.procs", std::to_string(task.pid()));
    if (!cpus.empty()) {
      EXPECT_EQ(set_mask(cpus, task.pid()), 0);
    }
    return task;
  }
  static Masks all_masks(pid_t but = 0) {
    Masks out;
    std::error_code error;
    for (const auto& process : fs::directory_iterator("/proc")) {
      std::string pid = process.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(but))
        continue;
      for (const auto& thread : fs::directory_iterator(process.path() / "task", error)) {
        std::string tid = thread.path().filename();
        out[tid] = affinity::mask_of_thread(std::stoi(tid)).to_string() + " " +
                   status_of(std::stoi(tid), "Mems_allowed_list");
      }
    }
    return out;
  }
  /* Tasks come and go: those that were there before and after. */
  static void expect_same(const Masks& before, const Masks& after, const std::string& what) {
    for (const auto& [tid, mask] : before)
      if (auto found = after.find(tid); found != after.end()) {
        std::string comm;
        std::getline(std::ifstream("/proc/" + tid + "/comm"), comm);
        if (comm.rfind("kworker/", 0) == 0) continue; /* the kernel moves these by itself */
        EXPECT_EQ(found->second, mask) << "of task " << tid << " (" << comm << ") after " << what;
      }
  }
  /* Every kind of command that places; `refused`: those that would have to switch the controller on. */
  void go_through_all(bool refused) {
    std::string how = GetParam() == std::string("cgroup1") ? "cgroup" : GetParam();
    Background member = sleeper("", "");
    std::string pid = std::to_string(member.pid());
    Masks before = all_masks(member.pid());
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"up"},
             {"hierarchy", "destroy", "default"},
             {"hierarchy", "create", "p", "-o", "cpuset,memset", "--placement", how},
             {"run", "--cpus", "0", "--", "true"},
             {"create", "p:/a", "-s", "cpuset.cpus=0", "-s", "memset.mems=0"},
             {"attach", "p:/a", pid},
             {"set", "p:/a", "cpuset.cpus=1"},
             {"run", "-c", "p:/a", "--", "true"},
             {"fsck", "--repair"},
             {"attach", "p:/", pid},
             {"attach", "p:/a", pid},
             {"attach", "p:/", pid},
             {"rm", "--lazy", "p:/a"},
             {"run", "--cpus", "0", "--", "true"},
             {"hierarchy", "destroy", "-r", "p"},
             {"down", "--force"}}) {
      std::string line;
      for (const std::string& word : words) line += word + " ";
      auto done = ctnbpf(words);
      bool places = words[0] == "run" || (words[0] == "attach" && words[1] == "p:/a");
      EXPECT_EQ(done.code != 0, refused && places) << line << done.err;
      if (done.code != 0) {
        EXPECT_NE(done.err.find("has chosen its CPUs"), std::string::npos) << done.err;
      }
      expect_same(before, all_masks(member.pid()), line);
      if (words[0] == "attach" && words[1] == "p:/a" && !refused) {
        EXPECT_EQ(mask(member).size(), 1u) << line;
      }
    }
    EXPECT_TRUE(eventually([] { return !fs::exists(kRoot + "/ctnbpf"); }));
  }
  /* Does this kernel keep a mask that a task has chosen, whatever cpuset it comes to? (From 6.2 on.) */
  static bool kernel_keeps() {
    utsname name = {};
    ::uname(&name);
    int major = 0;
    int minor = 0;
    (void)std::sscanf(name.release, "%d.%d", &major, &minor);
    return major > 6 || (major == 6 && minor >= 2);
  }
  static inline const std::string kRoot = "/sys/fs/cgroup";
};
INSTANTIATE_TEST_SUITE_P(Placement, Outside,
                         ::testing::Values("auto", "affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

/* With masks of their own, in a service and in the root group. */
TEST_P(Outside, MasksOfTheirOwnStay) {
  Background service = sleeper(kService, "1");
  Background plain = sleeper(kPlain, "0");
  Background root = sleeper("", "1");
  Background free = sleeper(kService, "");
  go_through_all(GetParam() == std::string("cgroup") && !kernel_keeps());
  EXPECT_FALSE(on());
}

/* Where nobody has one, the controller is used all the same, and is off again afterwards. */
TEST_P(Outside, WithoutMasksTheControllerIsUsed) {
  if (affinity::mask_of_thread(0) != kCpus.online())
    GTEST_SKIP() << "every task has a mask here (isolcpus=)";
  Background service = sleeper(kService, "");
  Background root = sleeper("", "1");
  go_through_all(false);
  EXPECT_FALSE(on());
}

/* Someone chooses while the controller is on for us: it stays on until nobody minds. */
TEST_P(Outside, ItStaysOnForWhoeverHasChosenSince) {
  if (GetParam() != std::string("auto") && GetParam() != std::string("cgroup")) return;
  ASSERT_EQ(ctnbpf({"hierarchy", "create", "p", "-o", "cpuset", "--placement", GetParam()}).code,
            0);
  ASSERT_EQ(ctnbpf({"run", "--cpus", "0", "--", "true"}).code, 0);
  ASSERT_TRUE(on());
  {
    Background service = sleeper(kService, "1");
    EXPECT_EQ(ctnbpf({"hierarchy", "destroy", "p"}).code, 0);
    EXPECT_EQ(mask(service), "1");
    EXPECT_EQ(on(), !kernel_keeps());
    EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
    ASSERT_EQ(ctnbpf({"down"}).code, 0);
    EXPECT_EQ(mask(service), "1");
    EXPECT_EQ(on(), !kernel_keeps());
  }
  ASSERT_EQ(ctnbpf({"up"}).code, 0);
  /* That of the default layout may be used at any time, and is kept for it. */
  EXPECT_EQ(ctnbpf({"hierarchy", "destroy", "default"}).code, 0);
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_FALSE(on());
}

}  // namespace
}  // namespace ctnbpf::test
