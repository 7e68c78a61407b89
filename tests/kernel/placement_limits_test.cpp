/* No task is taken out of a control group that limits something: it is placed by affinity where it is. */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "placement/affinity.h"
#include "placement_test.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kJob = "/ctnbpf-test-job";
constexpr const char* kInner = "/ctnbpf-test-job/inner";

/* A limit, and where the group has it. */
struct Limit {
  const char* controller;
  const char* file;
  const char* value;
};

class Limited : public PlacementTest, public ::testing::WithParamInterface<Limit> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) need_cpus(2);
    if (IsSkipped()) return;
    if (!group_driver()) CTN_SKIP("no cpuset controller of cgroup v2");
    make_group(kJob);
    make_group(kInner);
    std::string controller = GetParam().controller;
    if (controller.empty()) return;
    std::ifstream file(cgroup_root() + "/cgroup.subtree_control");
    for (std::string word; file >> word;) was_on_ = was_on_ || word == controller;
    write_group("/cgroup.subtree_control", "+" + controller);
  }
  void TearDown() override {
    for (const char* group : {kInner, kJob})
      EXPECT_TRUE(eventually(
          [&] { return ::rmdir((cgroup_root() + group).c_str()) == 0 || errno == ENOENT; }));
    PlacementTest::TearDown();
    std::string controller = GetParam().controller;
    if (group_driver() && !controller.empty() && !was_on_)
      write_group("/cgroup.subtree_control", "-" + controller);
  }
  void limit() {
    std::string file = GetParam().file;
    if (file != "device") {
      write_group(kJob + ("/" + file), GetParam().value);
      return;
    }
    bpf_insn allow[2] = {}; /* r0 = 1; exit */
    allow[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    allow[0].imm = 1;
    allow[1].code = BPF_JMP | BPF_EXIT;
    UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, "allow", "GPL", allow,
                                   std::size(allow), nullptr));
    ASSERT_TRUE(program.valid());
    UniqueFd group(::open((cgroup_root() + kJob).c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_EQ(bpf_prog_attach(program.get(), group.get(), BPF_CGROUP_DEVICE, 0), 0);
  }
  Background task_in(const char* group) const {
    Background task([] { return ::pause(); });
    write_group(std::string(group) + "/cgroup.procs", std::to_string(task.pid()));
    return task;
  }

 private:
  bool was_on_ = false;
};
INSTANTIATE_TEST_SUITE_P(
    Placement, Limited,
    ::testing::Values(Limit{"memory", "memory.max", "500M"}, Limit{"memory", "memory.low", "1M"},
                      Limit{"memory", "memory.high", "500M"}, Limit{"pids", "pids.max", "100"},
                      Limit{"cpu", "cpu.max", "50000 100000"}, Limit{"cpu", "cpu.weight", "50"},
                      Limit{"io", "io.weight", "50"}, Limit{"cpuset", "cpuset.cpus", "0-1"},
                      Limit{"", "device", ""}),
    [](const auto& one) {
      std::string name = one.param.file;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

TEST_P(Limited, StaysWhereItIs) {
  if (!std::filesystem::exists(cgroup_root() + kJob + "/" + GetParam().file) &&
      *GetParam().controller != 0)
    GTEST_SKIP() << "this kernel has no " << GetParam().file;
  Background job = task_in(kJob);
  Background below = task_in(kInner);
  /* From here on the controller is on, whatever the kernel would do to masks then. */
  EXPECT_EQ(ctnbpf({"run", "--cpus", "0", "--", "true"}).code, 0);
  create("default:/a", {"cpuset.cpus=1"});
  EXPECT_EQ(text("default:/", "cpuset.driver"), "cgroup2");
  limit();
  for (const Background* one : {&job, &below}) {
    std::string group = group_of(one->pid());
    attach_pid("default:/a", one->pid());
    EXPECT_EQ(group_of(one->pid()), group);
    EXPECT_EQ(mask(*one), "1");
    set("default:/a", {"cpuset.cpus=0"});
    EXPECT_EQ(mask(*one), "0");
    set("default:/a", {"cpuset.cpus=1"});
    EXPECT_EQ(group_of(one->pid()), group);
  }
  /* A command of `run` is where its starter is. */
  auto run = shell(fmt::format(
      "echo $$ > {}{}/cgroup.procs; {} run --cpus 1 -- sh -c 'nproc; cat /proc/self/cgroup'",
      cgroup_root(), kInner, ctnbpf_path()));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out.rfind("1\n", 0), 0u) << run.out;
  EXPECT_NE(run.out.find(fmt::format("0::{}\n", kInner)), std::string::npos) << run.out;
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
  EXPECT_EQ(ctnbpf({"attach", "--move", "default:/a", std::to_string(below.pid())}).code, 0);
  EXPECT_EQ(group_of(below.pid()).rfind("/ctnbpf/from-", 0), 0u) << group_of(below.pid());
  attach_pid("default:/", below.pid());
  EXPECT_EQ(group_of(below.pid()), kInner);
  attach_pid("default:/", job.pid());
}

TEST_P(Limited, IsRefusedWhereOnlyAGroupWillDo) {
  if (!std::filesystem::exists(cgroup_root() + kJob + "/" + GetParam().file) &&
      *GetParam().controller != 0)
    GTEST_SKIP() << "this kernel has no " << GetParam().file;
  NEED(use_driver("cgroup"));
  create("p:/a", {"cpuset.cpus=1"});
  limit();
  Background job = task_in(kInner);
  auto refused = ctnbpf({"attach", "p:/a", std::to_string(job.pid())});
  EXPECT_EQ(refused.code, 1);
  std::string what = *GetParam().controller == 0 ? "a BPF program" : GetParam().file;
  EXPECT_NE(refused.err.find(what), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find(kJob), std::string::npos) << refused.err;
  EXPECT_EQ(group_of(job.pid()), kInner);
  EXPECT_EQ(ctnbpf({"attach", "--move", "p:/a", std::to_string(job.pid())}).code, 0);
  EXPECT_EQ(mask(job), "1");
}

}  // namespace
}  // namespace ctnbpf::test
