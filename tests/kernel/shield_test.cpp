/* docs/shield.md, step by step: CPU 1 is for one job, and nothing else can run there but what the kernel
 * alone places. */
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kKthreadd = "2";
constexpr unsigned long kNoSetaffinity = 0x04000000; /* PF_NO_SETAFFINITY */

/* Flags of a thread, the 9th field of its stat; all set if it is gone. */
unsigned long flags_of(const std::filesystem::path& thread) {
  std::ifstream file(thread / "stat");
  std::string line;
  if (!std::getline(file, line)) return ~0UL;
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::string skip;
  for (int i = 0; i < 6; i++) rest >> skip;
  unsigned long flags = 0;
  return rest >> flags ? flags : ~0UL;
}

class Shield : public PlacementTest {
 protected:
  void SetUp() override {
    if (std::getenv("CTNBPF_EXPECT_LEVEL") == nullptr)
      GTEST_SKIP() << "moves all processes: only in a VM";
    PlacementTest::SetUp();
    if (!IsSkipped()) need_cpus(2);
    if (IsSkipped()) return;
    std::getline(std::ifstream(kWorkers), workers_);
    did({"hierarchy", "destroy", "-r", "default"});
    did({"hierarchy", "create", "shield", "-o", "cpuset"});
  }
  /* Whatever came of the test: nothing stays on one CPU. */
  void TearDown() override {
    if (!IsSkipped()) {
      std::ofstream(kWorkers) << workers_;
      ctnbpf({"attach", "--tree", "shield:/", "1"});
      all_in("shield:/rest", "shield:/");
      all_in("shield:/job", "shield:/");
    }
    PlacementTest::TearDown();
  }
  static void did(const std::vector<std::string>& words) {
    auto done = ctnbpf(words);
    EXPECT_EQ(done.code, 0) << done.err;
  }
  static Output all_in(const std::string& from, const std::string& to) {
    return shell(fmt::format("{0} attach {2} $({0} ps {1})", ctnbpf_path(), from, to));
  }
  /* Threads that may run on CPU 1 and could be kept from it; the one that makes kernel threads stays in the
   * root. */
  static std::vector<std::string> on_cpu_1() {
    std::vector<std::string> out;
    std::error_code gone;
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
      if (!std::filesystem::exists(process.path() / "task", gone)) continue;
      for (const auto& thread :
           std::filesystem::directory_iterator(process.path() / "task", gone)) {
        pid_t tid = std::stoi(thread.path().filename());
        IndexSet mask = affinity::mask_of_thread(tid);
        if (thread.path().filename() != kKthreadd && mask.has(1) &&
            (flags_of(thread.path()) & kNoSetaffinity) == 0)
          out.push_back(std::to_string(tid));
      }
    }
    return out;
  }

  static constexpr const char* kWorkers = "/sys/devices/virtual/workqueue/cpumask";
  std::string workers_; /* its text before */
};

TEST_F(Shield, TheRecipe) {
  did({"create", "shield:/job", "-s", "cpuset.cpus=1", "-s", "cpuset.cpu_exclusive=1"});
  did({"create", "shield:/rest", "-s", "cpuset.cpus=0", "-s", "cpuset.cpu_exclusive=1"});
  did({"attach", "--tree", "shield:/rest", "1"});
  shell(fmt::format("{} attach shield:/rest $(cat /proc/2/task/2/children)", ctnbpf_path()));
  /* A kernel thread is bound a moment after it began. */
  EXPECT_TRUE(eventually([] { return on_cpu_1().empty(); }))
      << ::testing::PrintToString(on_cpu_1());
  std::ofstream(kWorkers) << "1" << std::flush;
  std::istringstream left(ctnbpf({"ps", "shield:/"}).out);
  for (std::string pid; left >> pid;) {
    EXPECT_TRUE(pid == kKthreadd || (flags_of("/proc/" + pid) & kNoSetaffinity) != 0)
        << pid << " could have been moved";
  }

  auto run =
      ctnbpf({"run", "-c", "shield:/job", "--", "grep", "Cpus_allowed_list", "/proc/self/status"});
  EXPECT_EQ(run.out, "Cpus_allowed_list:\t1\n") << run.err;
  Background job([] { return ::pause(); });
  did({"attach", "--tree", "shield:/job", std::to_string(job.pid())});
  EXPECT_TRUE(eventually([&] { return on_cpu_1() == std::vector{std::to_string(job.pid())}; }))
      << ::testing::PrintToString(on_cpu_1());

  /* Nobody else gets the CPU, by no way. */
  EXPECT_EQ(set_mask("1"), EINVAL);
  EXPECT_EQ(try_set("shield:/rest", "cpuset.cpus=0-1"), EINVAL);
  EXPECT_EQ(ctnbpf({"create", "shield:/more", "-s", "cpuset.cpus=1"}).code, 1);

  did({"attach", "--tree", "shield:/", "1"});
  auto out = all_in("shield:/rest", "shield:/");
  EXPECT_EQ(out.code, 0) << out.err;
  EXPECT_EQ(affinity::mask_of_thread(job.pid()), kCpus.online());
  did({"hierarchy", "destroy", "-r", "shield"});
  EXPECT_FALSE(std::filesystem::exists(top_group()));
}

}  // namespace
}  // namespace ctnbpf::test
