/* CPU masks that tasks had before they were placed, and masks of their own inside of a set. */
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "cpuset/cpuset.h"
#include "kernel/mapping.h"
#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Masks : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (IsSkipped()) return;
    need_cpus(2);
    if (!IsSkipped()) use_driver(GetParam());
  }
  static std::string mask_of(pid_t tid) { return affinity::mask_of_thread(tid).to_string(); }
};
INSTANTIATE_TEST_SUITE_P(Placement, Masks, ::testing::Values("affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

/* It gets the whole set while it is there, and then what it had. */
TEST_P(Masks, ATaskThatLeavesHasWhatItHad) {
  create("p:/a", {"cpuset.cpus=0-1"});
  create("p:/b", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  ASSERT_EQ(set_mask("1", task.pid()), 0);
  for (int round = 0; round < 2; round++) {
    attach_pid("p:/a", task.pid());
    EXPECT_EQ(mask(task), "0-1");
    attach_pid("p:/b", task.pid());
    EXPECT_EQ(mask(task), "0");
    attach_pid("p:/", task.pid());
    EXPECT_EQ(mask(task), "1");
  }
  /* What it chooses outside is what it has the next time. */
  ASSERT_EQ(set_mask("0", task.pid()), 0);
  attach_pid("p:/a", task.pid());
  attach_pid("p:/", task.pid());
  EXPECT_EQ(mask(task), "0");
}

TEST_P(Masks, AListThatGoesGivesBackWhatTasksHad) {
  create("p:/a");
  Background task([] { return ::pause(); });
  ASSERT_EQ(set_mask("1", task.pid()), 0);
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(mask(task), "1");
  set("p:/a", {"cpuset.cpus=0-1"});
  EXPECT_EQ(mask(task), "0-1");
  set("p:/a", {"cpuset.cpus=0"});
  EXPECT_EQ(mask(task), "0");
  set("p:/a", {"cpuset.cpus="});
  EXPECT_EQ(mask(task), "1");
}

TEST_P(Masks, DownGivesBackWhatTasksHadAndTheirChildrenLikewise) {
  if (GetParam() == std::string("cgroup1"))
    return; /* each `down` has the next test load all again */
  create("p:/a", {"cpuset.cpus=0-1"});
  std::atomic<bool>* stop = shared_flag();
  std::atomic<bool>* placed = shared_flag();
  Background task([stop, placed]() -> int {
    while (!*placed) ::usleep(1000);
    if (mask_of(0) != "0-1") return 1;
    Background child([stop]() -> int {
      if (mask_of(0) != "0-1") return 1;
      while (!*stop) ::usleep(1000);
      return mask_of(0) == "1" ? 0 : 2;
    });
    while (!*stop) ::usleep(1000);
    return mask_of(0) == "1" ? child.wait() : 3;
  });
  ASSERT_EQ(set_mask("1", task.pid()), 0);
  attach_pid("p:/a", task.pid());
  *placed = true;
  EXPECT_TRUE(eventually([&] { return live_tasks(state().nodes()[slot("p:/a")]) == 2; }));
  take_all_down();
  *stop = true;
  EXPECT_EQ(task.wait(), 0);
}

/* Own threads that are not to be confined, and memory alone, leave the mask alone: also where the kernel
 * gives whoever comes to a group all of it. */
TEST_P(Masks, ThreadsThatStayOutsideKeepTheirs) {
  create("p:/a", {"cpuset.cpus=0"});
  create("p:/m", {"memset.mems=0"});
  Threads two(1);
  pid_t other = two.tids().back();
  ASSERT_EQ(set_mask("1", two.pid()), 0);
  attach_thread("p:/a", other);
  EXPECT_EQ(mask_of(other), "0");
  EXPECT_EQ(mask_of(two.pid()), "1");
  attach_thread("p:/", other);
  EXPECT_EQ(mask_of(other), mask_of(0));
  EXPECT_EQ(mask_of(two.pid()), "1");
  attach_pid("p:/m", two.pid());
  EXPECT_EQ(mask_of(two.pid()), "1");
  attach_pid("p:/", two.pid());
  EXPECT_EQ(mask_of(two.pid()), "1");
}

TEST_P(Masks, AMaskOfItsOwnInsideIsKept) {
  create("p:/a", {"cpuset.cpus=0-1"});
  Background own([] { return ::pause(); });
  Background whole([] { return ::pause(); });
  attach_pid("p:/a", own.pid());
  attach_pid("p:/a", whole.pid());
  ASSERT_EQ(set_mask("1", own.pid()), 0);
  set("p:/a", {"cpuset.cpus=0-1"}); /* the same again */
  EXPECT_EQ(mask(own), "1");
  EXPECT_EQ(mask(whole), "0-1");
  if (kCpus.online().to_string() != "0-1") { /* with more CPUs, a list that really changes */
    set("p:/a", {"cpuset.cpus=0-2"});
    EXPECT_EQ(mask(own), "1");
    EXPECT_EQ(mask(whole), "0-2");
    set("p:/a", {"cpuset.cpus=1-2"});
    EXPECT_EQ(mask(own), "1");
    EXPECT_EQ(mask(whole), "1-2");
  }
  create("p:/a/x", {"cpuset.cpus=1"}); /* another change somewhere */
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_EQ(mask(own), "1");
  attach_pid("p:/", own.pid());
  EXPECT_EQ(mask(own), mask_of(0));
}

/* As a command leaves it that is killed between taking a task out and giving it its CPUs. */
TEST_P(Masks, FsckFindsWhoHasNotGotThemBack) {
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  ASSERT_EQ(set_mask("1", task.pid()), 0);
  attach_pid("p:/a", task.pid());
  auto records = Mapping::open(pins(), "task_records", sizeof(ctn_task), ~0U, true);
  ASSERT_TRUE(records.has_value());
  auto all = records->as<ctn_task>();
  auto record = std::find_if(all.begin(), all.end(), [](const auto& one) { return one.came_with; });
  ASSERT_NE(record, all.end());
  __u16 had = record->came_with;
  attach_pid("p:/", task.pid());
  EXPECT_EQ(record->came_with, 0);
  record->came_with = had;
  ASSERT_EQ(set_mask("0", task.pid()), 0);
  Output found = ctnbpf({"fsck"});
  EXPECT_EQ(found.code, 1);
  EXPECT_NE(found.out.find(fmt::format("task {} is in no container with CPUs any more, and has not "
                                       "got back those it had",
                                       task.pid())),
            std::string::npos)
      << found.out;
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
  EXPECT_EQ(mask(task), "1");
  EXPECT_EQ(record->came_with, 0);
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
}

/* Forks all the while a process comes and goes: whoever is left at the end has what the first had. */
TEST_P(Masks, ChildrenBornWhileItComesAndGoes) {
  create("p:/a", {"cpuset.cpus=0"});
  std::atomic<bool>* stop = shared_flag();
  std::atomic<bool>* look = shared_flag();
  Background forker([stop, look]() -> int {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    fork_and_reap([stop] { return !*stop; });
    std::vector<Background> children;
    for (int i = 0; i < 3; i++)
      children.emplace_back([look] {
        while (!*look) ::usleep(1000);
        return mask_of(0) == "1" ? 0 : 1;
      });
    int wrong = 0;
    for (Background& one : children) wrong += one.wait();
    return wrong;
  });
  ASSERT_EQ(set_mask("1", forker.pid()), 0);
  for (int i = 0; i < 10; i++) {
    attach_pid("p:/a", forker.pid());
    EXPECT_EQ(mask(forker), "0");
    attach_pid("p:/", forker.pid());
    EXPECT_EQ(mask(forker), "1");
  }
  *stop = true;
  *look = true;
  EXPECT_EQ(forker.wait(), 0);
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
}

/* A writer that was killed when the tasks were moved and nobody placed. */
TEST_P(Masks, AKilledAttachIsFinishedWithTheMasksThereWere) {
  create("p:/a", {"cpuset.cpus=0-1"});
  create("p:/b", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  ASSERT_EQ(set_mask("1", task.pid()), 0);
  leave_attach_half_done("p:/a", task.pid());
  EXPECT_EQ(mask(task), "1");
  EXPECT_EQ(ctnbpf({"create", "p:/x"}).code, 0);
  EXPECT_EQ(mask(task), "0-1");
  leave_attach_half_done("p:/b", task.pid());
  EXPECT_EQ(ctnbpf({"create", "p:/y"}).code, 0);
  EXPECT_EQ(mask(task), "0");
  leave_attach_half_done("p:/", task.pid());
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(ctnbpf({"fsck"}).out, "clean\n"); /* it finishes that before it looks, too */
  EXPECT_EQ(mask(task), "1");
}

/* More masks than there are numbers: those that nobody has any more make room. */
TEST_P(Masks, NumbersOfMasksAreUsedAgain) {
  if (std::string(GetParam()) != "affinity") GTEST_SKIP() << "the same for all drivers";
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    auto room = writer->array<came_with_state>("came_with", 1);
    ASSERT_TRUE(room.has_value());
    store((*room)[0].next, static_cast<__u32>(CAME_WITH_MASKS - 1));
  }
  create("p:/a", {"cpuset.cpus=0"});
  std::vector<Background> tasks;
  for (const char* list : {"0", "1", "0-1"}) {
    tasks.emplace_back([] { return ::pause(); });
    ASSERT_EQ(set_mask(list, tasks.back().pid()), 0);
    attach_pid("p:/a", tasks.back().pid());
    EXPECT_EQ(mask(tasks.back()), "0");
  }
  std::size_t i = 0;
  for (const char* list : {"0", "1", "0-1"}) {
    attach_pid("p:/", tasks[i].pid());
    EXPECT_EQ(mask(tasks[i++]), list);
  }
}

/* Before the command's first instruction, whatever `run` itself may use. */
TEST_P(Masks, RunHasTheWholeSet) {
  for (const char* own : {"0", "1"}) {
    Background run([own]() -> int {
      if (set_mask(own) != 0) return 1;
      ::execl(ctnbpf_path().c_str(), "ctnbpf", "run", "--cpus", "0-1", "--", "sh", "-c",
              "test $(nproc) = 2", nullptr);
      return 2;
    });
    EXPECT_EQ(run.wait(), 0) << own;
  }
}

}  // namespace
}  // namespace ctnbpf::test
