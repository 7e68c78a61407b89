/* CPUs that go offline and come back. Only in a VM: nobody wants that of the machine the tests run on. */
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

/* Takes the CPU offline; back at the latest at the end. */
class Offline {
 public:
  explicit Offline(int cpu) : file_(fmt::format("/sys/devices/system/cpu/cpu{}/online", cpu)) {
    write("0");
  }
  ~Offline() { write("1"); }
  void back() const { write("1"); }

 private:
  void write(const char* text) const { std::ofstream(file_) << text; }
  std::string file_;
};

class Hotplug : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (std::getenv("CTNBPF_EXPECT_LEVEL") == nullptr)
      GTEST_SKIP() << "takes CPUs offline: only in a VM";
    PlacementTest::SetUp();
    if (IsSkipped()) return;
    need_cpus(2);
    if (!IsSkipped()) use_driver(GetParam());
    if (IsSkipped()) return;
    create("p:/a", {"cpuset.cpus=0-1"});
    create("p:/a/b", {"cpuset.cpus=1"});
    create("p:/c", {"cpuset.cpus=1"});
  }
  /* Until 6.10 its own cpusets learn some time later of a CPU that came or went. */
  void wait_for_the_kernel() const {
    std::string driver = GetParam();
    if (driver == "affinity") return;
    std::string file =
        cgroup_root() + (driver == "cgroup" ? "/cpuset.cpus.effective" : "/cpuset.cpus");
    EXPECT_TRUE(eventually([&] {
      std::string line;
      return std::getline(std::ifstream(file), line) && line == kCpus.online().to_string();
    })) << file;
  }
};
INSTANTIATE_TEST_SUITE_P(Placement, Hotplug, ::testing::Values("affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

/* The nearest container above with something online lends its set, until the CPU is back. */
TEST_P(Hotplug, TheNextCommandNotices) {
  Background task([] { return ::pause(); });
  attach_pid("p:/a/b", task.pid());
  EXPECT_EQ(mask(task), "1");
  Offline cpu(1);
  wait_for_the_kernel();
  EXPECT_EQ(text("p:/a/b", "cpuset.cpus"), "1");
  /* Where the kernel lends, it lends all. */
  EXPECT_EQ(text("p:/a/b", "cpuset.effective_cpus"),
            GetParam() == std::string("affinity") ? "0" : kCpus.online().to_string());
  EXPECT_EQ(text("p:/c", "cpuset.effective_cpus"), kCpus.online().to_string()); /* the root's */
  EXPECT_EQ(ctnbpf({"create", "p:/x"}).code, 0);
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(try_set("p:/x", "cpuset.cpus=1"), EINVAL); /* nothing of it is online */
  cpu.back();
  wait_for_the_kernel();
  EXPECT_NE(text("p:/a/b", "cpuset.effective_cpus"), "1"); /* it is on what was lent, and says so */
  EXPECT_EQ(ctnbpf({"rm", "p:/x"}).code, 0);
  EXPECT_EQ(mask(task), "1");
  EXPECT_EQ(text("p:/a/b", "cpuset.effective_cpus"), "1");
}

TEST_P(Hotplug, AgentdNoticesAtOnce) {
  Background task([] { return ::pause(); });
  attach_pid("p:/a/b", task.pid());
  Background whole([] { return ::pause(); });
  attach_pid("p:/a", whole.pid());
  Background agentd({ctnbpf_path(), "agentd"});
  {
    Offline cpu(1);
    EXPECT_TRUE(eventually([&] { return in_force("p:/a/b") == "0-1"; }));
    EXPECT_TRUE(eventually([&] { return mask(task) == "0"; }));
  }
  EXPECT_TRUE(eventually([&] { return mask(task) == "1"; })) << mask(task);
  EXPECT_TRUE(eventually([&] { return mask(whole) == "0-1"; })) << mask(whole);
  agentd.signal(SIGTERM);
  EXPECT_EQ(agentd.wait(), 0);
}

}  // namespace
}  // namespace ctnbpf::test
