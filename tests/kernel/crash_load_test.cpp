/* `up` and `down`, killed at each of their steps. */
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "crash.h"
#include "service/loaded.h"
#include "service/pinning.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/kind.h"

namespace ctnbpf::test {
namespace {

bool any_pins() { return std::filesystem::exists(kDefaultPinRoot); }

/* Loads once for all its tests, which pin that again and again: nothing is up when one begins. */
class CrashLoad : public CrashTest {
 protected:
  static void SetUpTestSuite() {
    (void)take_down(Pins(kDefaultPinRoot), true);
    loaded_.emplace(::geteuid() == 0 ? Loaded::load(sizes(false)) : Error{ENOTSUP, "needs root"});
  }
  static void TearDownTestSuite() { loaded_.reset(); }
  void SetUp() override {
    if (!*loaded_ && loaded_->error().code == ENOTSUP) CTN_SKIP(loaded_->error().what);
    ASSERT_TRUE(loaded_->has_value()) << loaded_->error().what;
  }
  void TearDown() override { (void)take_down(pins(), true); }

  static Result<void> pin() { return (*loaded_)->pin(Pins(kDefaultPinRoot)); }

  /* Hierarchy, container, hooks; the maps of an earlier round have the first two still. */
  void use() {
    if (exists("default:/w"))
      run_all({{"fsck", "--repair"}});
    else
      run_all({{"hierarchy", "create", "default"}, {"create", "default:/w"}});
    EXPECT_FALSE(std::filesystem::is_empty(std::string(kDefaultPinRoot) + "/links"));
  }

 private:
  inline static std::optional<Result<Loaded>> loaded_;
};

/* Everything or nothing is in place, and whoever comes next has it all. */
TEST_F(CrashLoad, PinningAtEveryStep) {
  auto pin_anew = [&] { return remove_left_over_pins(pins()) && pin() ? 0 : 1; };
  at_every_step("pinning", Kills::kEach, [&](std::uint64_t step) {
    Stopped stopped = run_until_step(step, pin_anew);
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    if (!pins().exist()) {
      EXPECT_TRUE(stopped.killed);
      EXPECT_EQ(run_until_step(0, pin_anew).code, 0);
    }
    EXPECT_TRUE(State::open(pins()).has_value());
    EXPECT_TRUE(remove_left_over_pins(pins()).has_value()); /* as whoever comes next */
    EXPECT_TRUE(State::open(pins()).has_value());
    EXPECT_TRUE(left_over_pins(pins()).empty());
    std::filesystem::remove_all(pins().root());
    return stopped;
  });
}

TEST_F(CrashLoad, DownAtEveryStep) {
  at_every_step("down", Kills::kEach, [&](std::uint64_t step) {
    EXPECT_TRUE(pin().has_value());
    use();
    Stopped stopped = run_until_step(step, [] { return run_command({"down"}); });
    SCOPED_TRACE(fmt::format("down, killed at step {}: {}", step, stopped.last));
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
    return stopped;
  });
}

/* `down` takes back what it did to tasks and to the cgroup tree; a killed one is finished by the next.
 * Loads for each round but the first. */
class CrashDownPlaced : public CrashTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (kCpus.online().count() < 2) GTEST_SKIP() << "needs 2 CPUs";
    if (GetParam() == std::string("cgroup") && !Groups::available(Groups::Version::kV2))
      CTN_SKIP("no cpuset controller of cgroup v2");
    KernelTest::SetUp();
  }
  void TearDown() override { (void)take_down(pins(), true); }
};
INSTANTIATE_TEST_SUITE_P(Placement, CrashDownPlaced, ::testing::Values("affinity", "cgroup"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(CrashDownPlaced, AtEveryStep) {
  std::string all = kCpus.online().to_string();
  auto controllers = [] {
    std::string line;
    std::getline(std::ifstream("/sys/fs/cgroup/cgroup.subtree_control"), line);
    return line;
  };
  std::string before = controllers();
  at_every_step(fmt::format("down with {}", GetParam()), Kills::kOnce, [&](std::uint64_t step) {
    EXPECT_TRUE(bring_up(pins(), settings()).has_value());
    run_all({{"hierarchy", "create", "default", "-o", "cpuset", "--placement", GetParam()},
             {"create", "default:/w", "-s", "cpuset.cpus=0"}});
    Background task = start_in("default:/w", [] { return ::pause(); });
    EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), "0");
    Stopped stopped = run_until_step(step, [] { return run_command({"down", "--force"}); });
    SCOPED_TRACE(fmt::format("down, killed at step {}: {}", step, stopped.last));
    /* Once the pins are taken away it is as in DownAtEveryStep. */
    if (!pins().exist()) stopped.killed = stopped.killed && !in_full();
    EXPECT_EQ(run({"down", "--force"}).code, 0);
    EXPECT_FALSE(any_pins());
    EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), all);
    EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf"));
    EXPECT_EQ(controllers(), before);
    return stopped;
  });
}

/* Probes and loads each time. */
TEST_F(CrashLoad, UpAtEveryStep) {
  at_every_step("up", Kills::kOnce, [&](std::uint64_t step) {
    Stopped stopped = run_until_step(step, [] { return run_command({"up"}); });
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    EXPECT_EQ(run({"up"}).code, 0);
    EXPECT_EQ(run({"fsck"}).code, 0);
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
    return stopped;
  });
}

}  // namespace
}  // namespace ctnbpf::test
