/* cpuset and memset: tasks are where their containers say. What needs several memory nodes is in
 * placement_memory_test.cpp. */
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "ctnbpf/agentd.h"
#include "ctnbpf/attach.h"
#include "kernel_test.h"
#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Cpuset : public PlacementTest {};

/* --- both drivers: what is promised of either --- */

class EachDriver : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) use_driver(GetParam());
  }
};
INSTANTIATE_TEST_SUITE_P(Placement, EachDriver, ::testing::Values("affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(EachDriver, AttachPlacesAndRootFrees) {
  NEED(need_cpus(2));
  create("p:/a", {"cpuset.cpus=1"});
  Background task([] { return ::pause(); });
  IndexSet before = affinity::mask_of_thread(task.pid());
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(mask(task), "1");
  /* A child is inside from the start. */
  Background parent = start_in("p:/a", [] {
    Background child([] { return affinity::mask_of_thread(0).to_string() == "1" ? 0 : 1; });
    return child.wait();
  });
  EXPECT_EQ(parent.wait(), 0);
  attach_pid("p:/", task.pid());
  EXPECT_EQ(affinity::mask_of_thread(task.pid()), before);
}

TEST_P(EachDriver, ChangesReachAllMembersAtOnce) {
  NEED(need_cpus(2));
  constexpr int kThreads = 500;
  create("p:/a", {"cpuset.cpus=0"});
  Threads many(kThreads);
  attach_pid("p:/a", many.pid());
  EXPECT_EQ(masks_of(many.pid()), (std::map<std::string, int>{{"0", kThreads + 1}}));
  set("p:/a", {"cpuset.cpus=1"});
  EXPECT_EQ(masks_of(many.pid()), (std::map<std::string, int>{{"1", kThreads + 1}}));
  set("p:/a", {"cpuset.cpus=0-1"});
  EXPECT_EQ(masks_of(many.pid()), (std::map<std::string, int>{{"0-1", kThreads + 1}}));
}

TEST_P(EachDriver, ThreadsOfOneProcessInTwoContainers) {
  NEED(need_cpus(2));
  create("p:/a", {"cpuset.cpus=0"});
  create("p:/b", {"cpuset.cpus=1"});
  Threads two(1);
  attach_pid("p:/a", two.pid());
  pid_t other = two.tids().back();
  attach_thread("p:/b", other);
  EXPECT_EQ(affinity::mask_of_thread(two.pid()).to_string(), "0");
  EXPECT_EQ(affinity::mask_of_thread(other).to_string(), "1");
  attach_thread("p:/", other);
  EXPECT_EQ(affinity::mask_of_thread(two.pid()).to_string(), "0");
  EXPECT_EQ(affinity::mask_of_thread(other), kCpus.online());
}

TEST_P(EachDriver, InheritingContainersFollow) {
  NEED(need_cpus(2));
  create("p:/a", {"cpuset.cpus=0"});
  create("p:/a/b");
  create("p:/a/b/c");
  Background task([] { return ::pause(); });
  attach_pid("p:/a/b/c", task.pid());
  EXPECT_EQ(mask(task), "0");
  set("p:/a", {"cpuset.cpus=1"});
  EXPECT_EQ(mask(task), "1");
  EXPECT_EQ(text("p:/a/b/c", "cpuset.cpus"), "");
  EXPECT_EQ(text("p:/a/b/c", "cpuset.effective_cpus"), "1");
  set("p:/a", {"cpuset.cpus="});
  EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online());
}

/* A member never gets out; and what is left of the mask is nothing: refused, mask unchanged. */
TEST_P(EachDriver, MembersCannotLeave) {
  NEED(need_cpus(2));
  if (std::string(GetParam()) == "affinity") NEED(need_refusals());
  create("p:/a", {"cpuset.cpus=1"});
  Background member = start_in("p:/a", [] {
    if (set_mask("0") != EINVAL) return 1;
    if (affinity::mask_of_thread(0).to_string() != "1") return 2;
    if (set_mask("1") != 0) return 3;
    int all = set_mask("0-1"); /* the controller cuts it down, affinity refuses */
    if (all != 0 && all != EINVAL) return 4;
    if (affinity::mask_of_thread(0).to_string() != "1") return 5;
    sched_param none = {};
    return ::sched_setscheduler(0, SCHED_BATCH, &none) == 0 ? 0
                                                            : 6; /* other settings are its own */
  });
  EXPECT_EQ(member.wait(), 0);
}

/* Whoever sets it from outside is refused as well; one that is no member is nobody's business. */
TEST_P(EachDriver, NobodySetsAMemberOutside) {
  NEED(need_cpus(2));
  if (std::string(GetParam()) == "affinity") NEED(need_refusals());
  create("p:/a", {"cpuset.cpus=1"});
  Background member([] { return ::pause(); });
  attach_pid("p:/a", member.pid());
  EXPECT_EQ(set_mask("0", member.pid()), EINVAL);
  EXPECT_EQ(mask(member), "1");
  Background other([] { return ::pause(); });
  EXPECT_EQ(set_mask("0", other.pid()), 0);
  EXPECT_EQ(set_mask("1", other.pid()), 0);
}

/* Forks while the set is changed over and over: at the end all are inside. */
TEST_P(EachDriver, ForksDuringChanges) {
  NEED(need_cpus(2));
  create("p:/a", {"cpuset.cpus=0"});
  std::atomic<bool>* stop = shared_flag();
  std::vector<Background> forkers;
  for (int i = 0; i < 3; i++)
    forkers.push_back(start_in("p:/a", [stop] {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      fork_and_reap([stop] { return !*stop; });
      return 0;
    }));
  for (int i = 0; i < 20; i++) set("p:/a", {i % 2 == 0 ? "cpuset.cpus=1" : "cpuset.cpus=0"});
  set("p:/a", {"cpuset.cpus=1"});
  EXPECT_EQ(outside("p:/a"), "");
  *stop = true;
  for (Background& one : forkers) EXPECT_EQ(one.wait(), 0);
}

TEST_P(EachDriver, RemovedAndDestroyedLeaveNothing) {
  create("p:/a", {"cpuset.cpus=0"});
  {
    Background task = start_in("p:/a", [] { return ::pause(); });
    EXPECT_EQ(std::filesystem::exists(top_group()), std::string(GetParam()) != "affinity");
  }
  remove_once_free("p:/a");
  EXPECT_FALSE(std::filesystem::exists(top_group()));
}

/* The end of everything: members may use all again. */
TEST_P(EachDriver, DownFreesMembers) {
  NEED(need_cpus(2));
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(mask(task), "0");
  take_all_down();
  EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online());
  EXPECT_FALSE(std::filesystem::exists(top_group()));
}

/* --- rules over the real maps; each rule by itself is in rules_test.cpp --- */

TEST_F(Cpuset, ListsAndErrors) {
  create("default:/a");
  EXPECT_EQ(text("default:/a", "cpuset.cpus"), "");
  EXPECT_EQ(text("default:/", "cpuset.cpus"), kCpus.all().to_string());
  EXPECT_EQ(text("default:/a", "cpuset.effective_cpus"), kCpus.online().to_string());
  EXPECT_EQ(try_set("default:/a", "cpuset.cpus=0,0\n"), 0);
  EXPECT_EQ(text("default:/a", "cpuset.cpus"), "0");
  for (const char* bad : {"x", "1-0", "0-", ",", "-1"})
    EXPECT_EQ(try_set("default:/a", std::string("cpuset.cpus=") + bad), EINVAL) << bad;
  EXPECT_EQ(try_set("default:/a", "cpuset.cpus=8192"), ERANGE);
  EXPECT_EQ(try_set("default:/a", "memset.mems=1024"), ERANGE);
  EXPECT_EQ(try_set("default:/a", "cpuset.cpus=8000"), EINVAL);   /* none online */
  EXPECT_EQ(try_set("default:/a", "cpuset.cpus=0,8000"), EACCES); /* the root has not got it */
  EXPECT_EQ(try_set("default:/", "cpuset.cpus=0"), EPERM);
  EXPECT_EQ(try_set("default:/a", "cpuset.cpu_exclusive=2"), EINVAL);
  EXPECT_EQ(try_set("default:/a", "cpuset.effective_cpus=0"), EACCES); /* read-only */
  EXPECT_EQ(text("default:/a", "cpuset.cpus"), "0");
}

TEST_F(Cpuset, ExclusiveAndBelow) {
  NEED(need_cpus(2));
  create("default:/a", {"cpuset.cpus=0-1"});
  create("default:/a/x", {"cpuset.cpus=0"});
  create("default:/a/y", {"cpuset.cpus=0-1"});
  EXPECT_EQ(try_set("default:/a", "cpuset.cpus=1"), EBUSY);
  EXPECT_EQ(try_set("default:/a/x", "cpuset.cpu_exclusive=1"), EACCES);
  EXPECT_EQ(try_set("default:/a", "cpuset.cpu_exclusive=1"), 0);
  EXPECT_EQ(try_set("default:/a/x", "cpuset.cpu_exclusive=1"), EINVAL);
  EXPECT_EQ(try_set("default:/a/y", "cpuset.cpus=1"), 0);
  EXPECT_EQ(try_set("default:/a/x", "cpuset.cpu_exclusive=1"), 0);
  EXPECT_EQ(try_set("default:/a/y", "cpuset.cpus=0-1"), EINVAL);
  EXPECT_EQ(try_set("default:/a", "cpuset.cpu_exclusive=0"), EBUSY);
  /* Both in one command, the second seen with the first; and all or nothing. */
  create("default:/a/z");
  EXPECT_EQ(try_set("default:/a/z", "cpuset.cpus=0", "cpuset.cpu_exclusive=1"), EINVAL);
  EXPECT_EQ(text("default:/a/z", "cpuset.cpus"), "");
}

TEST_F(Cpuset, MemsFollowTheSameRules) {
  create("default:/a", {"memset.mems=0"});
  create("default:/b", {"memset.mems=0"});
  create("default:/a/x");
  EXPECT_EQ(text("default:/a/x", "memset.mems"), "");
  EXPECT_EQ(text("default:/a/x", "memset.effective_mems"), "0");
  EXPECT_EQ(try_set("default:/a/x", "memset.mem_exclusive=1"), EACCES);
  EXPECT_EQ(try_set("default:/a", "memset.mem_exclusive=1"), EINVAL);
  EXPECT_EQ(try_set("default:/b", "memset.mems="), 0);
  EXPECT_EQ(try_set("default:/a", "memset.mem_exclusive=1"), 0);
  EXPECT_EQ(try_set("default:/b", "memset.mems=0"), EINVAL);
  EXPECT_EQ(try_set("default:/a/x", "memset.mem_exclusive=1"), 0);
  EXPECT_EQ(try_set("default:/a", "memset.mem_exclusive=0"), EBUSY);
  EXPECT_EQ(try_set("default:/a", "memset.mems=1000"), EINVAL); /* no such node is online */
  EXPECT_EQ(try_set("default:/a", "memset.memory_migrate=2"), EINVAL);
  EXPECT_EQ(try_set("default:/", "memset.memory_migrate=1"), EPERM);
}

TEST_F(Cpuset, StrictHierarchiesRefuseUntilSet) {
  auto made = ctnbpf({"hierarchy", "destroy", "default"});
  ASSERT_EQ(made.code, 0) << made.err;
  made = ctnbpf({"hierarchy", "create", "s", "-o", "cpuset,memset", "--strict-cpusets"});
  ASSERT_EQ(made.code, 0) << made.err;
  create("s:/a");
  Background task([] { return ::pause(); });
  auto refused = ctnbpf({"attach", "s:/a", std::to_string(task.pid())});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("has no cpuset.cpus yet"), std::string::npos) << refused.err;
  set("s:/a", {"cpuset.cpus=0"});
  refused = ctnbpf({"attach", "s:/a", std::to_string(task.pid())});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("has no memset.mems yet"), std::string::npos) << refused.err;
  EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online()); /* nothing was begun */
  set("s:/a", {"memset.mems=0"});
  attach_pid("s:/a", task.pid());
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(try_set("s:/a", "cpuset.cpus="), ENOSPC); /* not while a task is there */
}

TEST_F(Cpuset, KernelThreadsBoundToACpuAreRefused) {
  pid_t bound = 0; /* "ksoftirqd/0" */
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream comm(entry.path() / "comm");
    std::string name;
    if (std::getline(comm, name) && name == "ksoftirqd/0")
      bound = std::stoi(entry.path().filename());
  }
  if (bound == 0) CTN_SKIP("no ksoftirqd/0 to be seen");
  create("default:/a", {"cpuset.cpus=0"});
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  auto done = attach(*writer, *tree::find(*writer, "default:/a"), bound, false);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, EINVAL);
}

/* What `run` starts is placed before its first instruction. */
TEST_F(Cpuset, RunPlaces) {
  NEED(need_cpus(2));
  auto run = ctnbpf({"run", "--cpus", "1", "--mems", "0", "--", "sh", "-c",
                     "grep -E '^Cpus_allowed_list' /proc/self/status; nproc"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "Cpus_allowed_list:\t1\n1\n");
  run = ctnbpf({"run", "--cpus", "9000", "--", "true"});
  EXPECT_EQ(run.code, 125);
  EXPECT_NE(run.err.find("cpuset.cpus cannot be '9000'"), std::string::npos) << run.err;
}

/* Two hierarchies: the task gets the CPUs of one and the nodes of the other. */
TEST_F(Cpuset, PairOfTwoHierarchies) {
  NEED(need_cpus(2));
  for (const char* driver : {"affinity", "cgroup"}) {
    take_all_down();
    if (std::string(driver) == "cgroup" && !group_driver()) continue;
    ASSERT_EQ(ctnbpf({"hierarchy", "create", "c", "-o", "cpuset", "--placement", driver}).code, 0);
    ASSERT_EQ(ctnbpf({"hierarchy", "create", "m", "-o", "memset", "--placement", driver}).code, 0);
    create("c:/x", {"cpuset.cpus=1"});
    create("m:/y", {"memset.mems=0"});
    Background task([] { return ::pause(); });
    attach_pid("c:/x", task.pid());
    attach_pid("m:/y", task.pid());
    EXPECT_EQ(mask(task), "1") << driver;
    if (text("m:/", "memset.driver") !=
        "affinity") { /* which gives a policy to commands of `run` only */
      EXPECT_EQ(status_of(task.pid(), "Mems_allowed_list"), "0") << driver;
    }
    attach_pid("c:/", task.pid());
    EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online()) << driver;
    attach_pid("m:/", task.pid());
    EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf")) << driver;
    destroy("c", "m");
  }
  take_all_down();
}

/* A task in a group that a service manager made stays there, and is placed all the same: by affinity with
 * `auto`; not at all with `cgroup`, until --move takes it out. */
TEST_F(Cpuset, TasksOfServicesStayWhereTheyAre) {
  NEED(need_cpus(2));
  if (!group_driver()) CTN_SKIP("no cpuset controller of cgroup v2");
  std::filesystem::path service = "/sys/fs/cgroup/ctnbpf-test.service";
  std::filesystem::create_directory(service);
  {
    Background task([] { return ::pause(); });
    std::ofstream(service / "cgroup.procs") << task.pid() << std::flush;
    std::string pid = std::to_string(task.pid());
    auto group = [&] {
      std::ifstream file("/proc/" + pid + "/cgroup");
      std::string line;
      while (std::getline(file, line) && line.rfind("0::", 0) != 0) {
      }
      return line.substr(3);
    };
    ASSERT_EQ(group(), "/ctnbpf-test.service");
    create("default:/a", {"cpuset.cpus=1"});
    EXPECT_EQ(text("default:/a", "cpuset.driver"), "cgroup2");
    attach_pid("default:/a", task.pid());
    EXPECT_EQ(mask(task), "1");
    EXPECT_EQ(group(), "/ctnbpf-test.service");
    EXPECT_EQ(set_mask("0", task.pid()), level() >= CTN_LEVEL_FALLBACK ? EINVAL : 0);
    set("default:/a", {"cpuset.cpus=0"});
    EXPECT_EQ(mask(task), "0");
    attach_pid("default:/", task.pid());
    EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online());

    use_driver("cgroup");
    create("p:/a", {"cpuset.cpus=1"});
    auto refused = ctnbpf({"attach", "p:/a", pid});
    EXPECT_EQ(refused.code, 1);
    EXPECT_NE(refused.err.find("a service manager made it: --move"), std::string::npos)
        << refused.err;
    EXPECT_EQ(affinity::mask_of_thread(task.pid()), kCpus.online());
    EXPECT_EQ(ctnbpf({"attach", "--move", "p:/a", pid}).code, 0);
    EXPECT_EQ(mask(task), "1");
    EXPECT_EQ(group().rfind("/ctnbpf/", 0), 0u) << group();
  }
  EXPECT_TRUE(eventually([&] { return ::rmdir(service.c_str()) == 0; }));
}

/* Which driver is in force, what it cannot do, and where tasks are. */
TEST_P(EachDriver, IsShown) {
  std::string driver = text("p:/", "cpuset.driver");
  create("p:/a", {"cpuset.cpus=0", "memset.mems=0"});
  std::string tree = ctnbpf({"tree", "p:/"}).out;
  EXPECT_EQ(tree.rfind("p (cpuset,memset), placed by " + driver, 0), 0u) << tree;
  EXPECT_NE(tree.find("cpus 0"), std::string::npos) << tree;
  EXPECT_NE(tree.find("mems 0"), std::string::npos) << tree;
  EXPECT_NE(ctnbpf({"tree", "p:/", "--json"}).out.find("placed by " + driver), std::string::npos);
  std::string doctor = ctnbpf({"doctor"}).out;
  std::map<std::string, std::string> says = {
      {"affinity", "a mask that is partly outside is refused with EINVAL"},
      {"cgroup2",
       "tasks in groups that a service manager made, or that limit something, are refused"},
      {"cgroup1", "by groups of the kernel's cgroup v1"}};
  EXPECT_NE(doctor.find(says[driver]), std::string::npos) << doctor;
}

/* A task that asked for less by itself keeps that when its neighbours come and go, and is put back when
 * it is attached again. */
TEST_F(Cpuset, AttachAgainReapplies) {
  NEED(need_cpus(2));
  use_driver("affinity");
  create("p:/a", {"cpuset.cpus=0-1"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(set_mask("1", task.pid()), 0);
  Background other([] { return ::pause(); });
  attach_pid("p:/a", other.pid());
  EXPECT_EQ(mask(task), "1");
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(mask(task), "0-1");
}

/* Uncontained CPU masks are left alone, whatever the memory side does. */
TEST_F(Cpuset, MemoryAloneLeavesTheMaskAlone) {
  NEED(need_cpus(2));
  use_driver("affinity");
  create("p:/m", {"memset.mems=0"});
  Background task([] { return ::pause(); });
  EXPECT_EQ(set_mask("1", task.pid()), 0);
  attach_pid("p:/m", task.pid());
  EXPECT_EQ(mask(task), "1");
  attach_pid("p:/", task.pid());
  EXPECT_EQ(mask(task), "1");
}

/* fsck finds masks that disagree, and mends them. */
TEST_F(Cpuset, FsckFindsAndMendsMasks) {
  NEED(need_cpus(2));
  use_driver("affinity");
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  corrupt_in_force("p:/a", "0-1"); /* the hook lets it out, as one that was skipped would */
  EXPECT_EQ(set_mask("1", task.pid()), 0);
  corrupt_in_force("p:/a", "0");
  auto found = ctnbpf({"fsck"});
  EXPECT_EQ(found.code, 1);
  EXPECT_NE(
      found.out.find(fmt::format("task {} may run on CPUs '1', its container has '0'", task.pid())),
      std::string::npos)
      << found.out;
  auto mended = ctnbpf({"fsck", "--repair"});
  EXPECT_EQ(mended.code, 0) << mended.out << mended.err;
  EXPECT_EQ(mask(task), "0");
}

/* What could not be put in force is said by the command that tried, and by agentd. */
TEST_F(Cpuset, WhatCannotBePlacedIsSaid) {
  NEED(need_cpus(2));
  NEED(use_driver("cgroup"));
  create("p:/a", {"cpuset.cpus=0"});
  create("p:/b", {"cpuset.cpus=1"});
  Background task([] { return ::pause(); });
  Background other([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  attach_pid("p:/b", other.pid());
  /* Out of its group, which goes; and no group can be made now. */
  smuggle(task.pid(), "");
  EXPECT_EQ(ctnbpf({"create", "p:/c"}).code, 0);
  write_group("/ctnbpf/cgroup.max.descendants", "2");
  leave_change_half_done("p:/a", "0-1");
  auto next = ctnbpf({"create", "p:/d"});
  EXPECT_EQ(next.code, 0);
  EXPECT_EQ(next.err.rfind("ctnbpf: warning: make group '/sys/fs/cgroup/ctnbpf/from-", 0), 0u)
      << next.err;

  leave_change_half_done("p:/a", "0");
  std::atomic<bool>* said = shared_flag();
  Background agentd([&] {
    auto log = [said](const std::string& line) {
      *said = *said || line.rfind("warning: make group '/sys/fs/cgroup/ctnbpf/from-", 0) == 0;
    };
    return serve_releases(
               pins(), -1, [] {}, log)
               ? 0
               : 1;
  });
  EXPECT_TRUE(eventually([said] { return said->load(); }));
  write_group("/ctnbpf/cgroup.max.descendants", "max");
  EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
}

/* A writer that was killed after the change and before the tasks were placed: the next one places. */
TEST_F(Cpuset, AKilledSetIsFinishedByTheNextCommand) {
  NEED(need_cpus(2));
  use_driver("affinity");
  create("p:/a", {"cpuset.cpus=0"});
  Background task([] { return ::pause(); });
  attach_pid("p:/a", task.pid());
  leave_change_half_done("p:/a", "1");
  EXPECT_EQ(mask(task), "0");
  EXPECT_EQ(ctnbpf({"create", "p:/b"}).code, 0);
  EXPECT_EQ(mask(task), "1");
  leave_change_half_done("p:/a", "0-1"); /* wider: the mask is inside, and not all of it */
  EXPECT_EQ(ctnbpf({"create", "p:/c"}).code, 0);
  EXPECT_EQ(mask(task), "0-1");
}

}  // namespace
}  // namespace ctnbpf::test
