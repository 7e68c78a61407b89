/* Commands that place tasks, killed at each of their steps: at most the old and the new place are ever
 * seen, and whoever comes next finishes what the killed one had begun. */
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "crash.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

std::string cpus_of(pid_t pid) { return affinity::mask_of_thread(pid).to_string(); }
std::string nodes_of(pid_t pid) { return status_of(pid, "Mems_allowed_list"); }

std::string first_node() {
  std::string all = kNodes.online().to_string();
  return all.substr(0, all.find_first_of(",-"));
}
std::string last_node() {
  std::string all = kNodes.online().to_string();
  return all.substr(all.find_last_of(",-") + 1);
}

const std::vector<Argv> kRemoveW = {{"rm", "--lazy", "default:/w"}};
const std::vector<Argv> kRemoveBoth = {{"rm", "--lazy", "default:/w", "default:/v"}};

std::vector<Scenario> scenarios_under(const char* driver) {
  bool group = driver == std::string("cgroup");
  /* The stores are the same under both. */
  Steps steps = group ? Steps::kSystemCalls : Steps::kAll;
  std::string all = kCpus.online().to_string();
  const Scenario out = {.name = "attach_out_of_a_set",
                        .before = {{"create", "default:/w", "-s", "cpuset.cpus=1"}},
                        .command = {"attach", "default:/", "PID"},
                        .after = kRemoveW,
                        .task_in = "default:/w",
                        .task_to = "default:/",
                        .fate = Fate::kMoves,
                        .steps = steps,
                        .driver = driver,
                        .where = cpus_of,
                        .at_first = "1",
                        .at_last = all};
  Scenario tree_out = out;
  tree_out.name = "attach_tree_out_of_a_set";
  tree_out.command = {"attach", "--tree", "default:/", "PID"};
  tree_out.kills = Kills::kThree;
  return {
      {.name = "set_cpus",
       .before = {{"create", "default:/w", "-s", "cpuset.cpus=0"}},
       .command = {"set", "default:/w", "cpuset.cpus=1"},
       .after = kRemoveW,
       .task_in = "default:/w",
       .steps = steps,
       .driver = driver,
       .where = cpus_of,
       .at_first = "0",
       .at_last = "1"},
      {.name = "set_mems",
       .before = {{"create", "default:/w", "-s", "memset.memory_migrate=1", "-s",
                   "memset.mems=" + first_node()}},
       .command = {"set", "default:/w", "memset.mems=" + last_node()},
       .after = kRemoveW,
       .task_in = "default:/w",
       .kills = Kills::kThree,
       .driver = driver,
       .where = group ? nodes_of : nullptr, /* by affinity it has no sign but where its pages are */
       .at_first = first_node(),
       .at_last = last_node()},
      {.name = "attach_to_a_set",
       .before = {{"create", "default:/w", "-s", "cpuset.cpus=1"}, {"create", "default:/v"}},
       .command = {"attach", "default:/w", "PID"},
       .after = kRemoveBoth,
       .task_in = "default:/v",
       .task_to = "default:/w",
       .fate = Fate::kMoves,
       .steps = steps,
       .driver = driver,
       .where = cpus_of,
       .at_first = all,
       .at_last = "1"},
      out,
      tree_out,
  };
}

/* The group of a container that had tasks is there until it is removed. */
const Scenario kRemoval = {.name = "rm_with_a_group",
                           .before = {{"create", "default:/w", "-s", "cpuset.cpus=0"},
                                      {"run", "-c", "default:/w", "--", "/bin/true"}},
                           .command = {"rm", "default:/w"},
                           .gone = "default:/w",
                           .steps = Steps::kSystemCalls,
                           .driver = "cgroup"};

Scenario setting_flag(const char* name, const char* where, const std::string& attribute) {
  return {.name = name,
          .before = {{"create", "default:/w"}},
          .command = {"set", where, attribute + "=1"},
          .after = {{"set", where, attribute + "=0"}, {"rm", "default:/w"}},
          .driver = "affinity"};
}

std::vector<Scenario> flags() {
  return {
      setting_flag("set_cpu_exclusive", "default:/w", "cpuset.cpu_exclusive"),
      setting_flag("set_mem_exclusive", "default:/w", "memset.mem_exclusive"),
      setting_flag("set_memory_migrate", "default:/w", "memset.memory_migrate"),
      setting_flag("set_strict_cpus", "default:/", "cpuset.strict"),
      setting_flag("set_strict_mems", "default:/", "memset.strict"),
      {.name = "set_placement",
       .before = {{"hierarchy", "create", "h", "-o", "cpuset,memset"}},
       .command = {"set", "h:/", "cpuset.placement=affinity", "memset.placement=affinity"},
       .after = {{"hierarchy", "destroy", "h"}},
       .alone = true},
  };
}

}  // namespace

std::vector<Scenario> placement_scenarios() {
  std::vector<Scenario> all = scenarios_under("affinity");
  for (const Scenario& one : flags()) all.push_back(one);
  for (const Scenario& one : scenarios_under("cgroup")) all.push_back(one);
  all.push_back(kRemoval);
  return all;
}

namespace {

std::string name_of(const ::testing::TestParamInfo<Scenario>& one) { return one.param.name; }
INSTANTIATE_TEST_SUITE_P(Affinity, Crash, ::testing::ValuesIn(scenarios_under("affinity")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Groups, Crash, ::testing::ValuesIn(scenarios_under("cgroup")), name_of);
INSTANTIATE_TEST_SUITE_P(Flags, Crash, ::testing::ValuesIn(flags()), name_of);
INSTANTIATE_TEST_SUITE_P(Group, Crash, ::testing::Values(kRemoval), name_of);

/* With the hierarchy that used them go the groups and the controller's switch, or with the next command. */
class CrashSwitch : public CrashTest {
 protected:
  bool alone() const override { return true; }
  bool hooks_go() const override { return false; }
  static std::string controllers() {
    std::string line;
    std::getline(std::ifstream("/sys/fs/cgroup/cgroup.subtree_control"), line);
    return line;
  }
};

TEST_F(CrashSwitch, HierarchyDestroyAtEveryStep) {
  if (!Groups::available(Groups::Version::kV2)) CTN_SKIP("no cpuset controller of cgroup v2");
  std::string before = controllers();
  at_every_step("hierarchy destroy with groups", Kills::kFew, [&](std::uint64_t step) {
    run_all({{"hierarchy", "create", "p", "-o", "cpuset", "--placement", "cgroup"},
             {"create", "p:/w", "-s", "cpuset.cpus=0"},
             {"run", "-c", "p:/w", "--", "/bin/true"},
             {"rm", "p:/w"}});
    EXPECT_NE(controllers().find("cpuset"), std::string::npos);
    /* As for a group that could not be removed with the container: someone was still in it. */
    std::filesystem::create_directories("/sys/fs/cgroup/ctnbpf/from-1/cpus-9");
    auto destroy = [] { return run_command({"hierarchy", "destroy", "p"}); };
    Stopped stopped = run_until_step(step, destroy, Steps::kSystemCalls);
    SCOPED_TRACE(fmt::format("killed at step {}: {}", step, stopped.last));
    int again = run({"hierarchy", "destroy", "p"}).code;
    EXPECT_TRUE(again == 0 || again == 1);
    expect_consistent();
    EXPECT_EQ(controllers(), before);
    EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf"));
    return stopped;
  });
}

}  // namespace
}  // namespace ctnbpf::test
