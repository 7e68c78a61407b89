/* `up` and `down`, killed at each of their steps. */
#include <fmt/format.h>

#include <filesystem>

#include "crash.h"
#include "pinning.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/kind.h"

namespace ctnbpf::test {
namespace {

class CrashLoad : public CrashTest {
 protected:
  bool alone() const override { return true; }
  void SetUp() override {
    CrashTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    (void)take_down(pins(), true);
  }
  void TearDown() override { (void)take_down(pins(), true); }

  static bool any_pins() {
    return std::filesystem::exists(kDefaultPinRoot) ||
           std::filesystem::exists(std::string(kDefaultPinRoot) + "-new") ||
           std::filesystem::exists(std::string(kDefaultPinRoot) + "-old");
  }
  /* Hierarchy, container, hooks; the maps of an earlier round have the first two still. */
  void use() {
    if (exists("default:/w"))
      run_all({{"fsck", "--repair"}});
    else
      run_all({{"hierarchy", "create", "default"}, {"create", "default:/w"}});
    EXPECT_FALSE(std::filesystem::is_empty(std::string(kDefaultPinRoot) + "/links"));
  }
};

/* Everything or nothing is in place, and whoever comes next has it all. */
TEST_F(CrashLoad, PinningAtEveryStep) {
  auto loaded = Loaded::load(settings());
  ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
  auto pin = [&] { return remove_left_over_pins(pins()) && loaded->pin(pins()) ? 0 : 1; };
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    Stopped stopped = run_until_step(step, pin);
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    if (!pins().exist()) {
      EXPECT_TRUE(killed);
      EXPECT_EQ(run_until_step(0, pin).code, 0);
    }
    EXPECT_TRUE(State::open(pins()).has_value());
    EXPECT_TRUE(left_over_pins(pins()).empty());
    std::filesystem::remove_all(pins().root());
  }
  std::printf("pinning: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

TEST_F(CrashLoad, DownAtEveryStep) {
  auto loaded = Loaded::load(settings());
  ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    ASSERT_TRUE(loaded->pin(pins()).has_value());
    use();
    Stopped stopped = run_until_step(step, [] { return run_command({"down"}); });
    SCOPED_TRACE(fmt::format("down, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
  }
  std::printf("down: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

/* `down` takes back what it did to tasks and to the cgroup tree; a killed one is finished by the next.
 * Loads each time: minutes. */
class CrashDownPlaced : public CrashLoad, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (kCpus.online().count() < 2) GTEST_SKIP() << "needs 2 CPUs";
    if (GetParam() == std::string("cgroup") && !Groups::available(Groups::Version::kV2))
      CTN_SKIP("no cpuset controller of cgroup v2");
    CrashLoad::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Placement, CrashDownPlaced, ::testing::Values("affinity", "cgroup"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(CrashDownPlaced, AtEveryStep) {
  if (!in_full()) return;
  std::string all = kCpus.online().to_string();
  std::uint64_t step = 1;
  /* What follows once the pins are taken away is in DownAtEveryStep. */
  for (bool pinned = true; pinned && !HasFailure(); step++) {
    ASSERT_TRUE(bring_up(pins(), settings()).has_value());
    run_all({{"hierarchy", "create", "default", "-o", "cpuset", "--placement", GetParam()},
             {"create", "default:/w", "-s", "cpuset.cpus=0"}});
    Background task = start_in("default:/w", [] { return ::pause(); });
    EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), "0");
    Stopped stopped = run_until_step(step, [] { return run_command({"down", "--force"}); });
    SCOPED_TRACE(fmt::format("down, killed at step {}: {}", step, stopped.last));
    pinned = pins().exist();
    EXPECT_EQ(run({"down", "--force"}).code, 0);
    EXPECT_FALSE(any_pins());
    EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), all);
    EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf"));
  }
  std::printf("down with %s: killed at each of its first %lu steps\n", GetParam(),
              static_cast<unsigned long>(step) - 1);
}

/* Probes and loads each time: minutes. */
TEST_F(CrashLoad, UpAtEveryStep) {
  if (!in_full()) return;
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    Stopped stopped = run_until_step(step, [] { return run_command({"up"}); });
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    EXPECT_EQ(run({"up"}).code, 0);
    EXPECT_EQ(run({"fsck"}).code, 0);
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
  }
  std::printf("up: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

}  // namespace
}  // namespace ctnbpf::test
