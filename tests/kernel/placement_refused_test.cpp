/* Placing against those who set masks meanwhile, and against a kernel that refuses. */
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

class Refused : public PlacementTest {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (IsSkipped()) return;
    need_cpus(2);
    if (!IsSkipped()) use_driver("affinity");
  }
  /* 1 ms of 100 ms: 0 or errno. */
  static int make_deadline(pid_t tid) {
    constexpr std::uint64_t kMs = 1'000'000;
    /* linux/sched/types.h cannot be included with the C library's headers. */
    struct {
      std::uint32_t size;
      std::uint32_t sched_policy;
      std::uint64_t sched_flags;
      std::int32_t sched_nice;
      std::uint32_t sched_priority;
      std::uint64_t sched_runtime;
      std::uint64_t sched_deadline;
      std::uint64_t sched_period;
    } attr = {};
    attr.size = sizeof(attr);
    attr.sched_policy = 6; /* SCHED_DEADLINE */
    attr.sched_runtime = kMs;
    attr.sched_deadline = attr.sched_period = 100 * kMs;
    return ::syscall(SYS_sched_setattr, tid, &attr, 0) == 0 ? 0 : errno;
  }
};

/* The hook has let a mask pass by the old list, and the kernel stores it after the new one is in force. */
TEST_F(Refused, CallsUnderWayLeaveNobodyOutside) {
  NEED(need_refusals());
  constexpr int kThreads = 30;
  constexpr int kRounds = 5;
  create("p:/x", {"cpuset.cpus=0-1"});
  create("p:/y", {"cpuset.cpus=0"});
  Background storm([] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++)
      threads.emplace_back([] {
        for (;;) {
          (void)set_mask("1");
          (void)set_mask("0-1");
        }
      });
    return ::pause();
  });
  ASSERT_TRUE(eventually([&] { return masks_of(storm.pid()).size() > 1; }));
  attach_pid("p:/x", storm.pid());
  for (int round = 0; round < kRounds; round++) {
    EXPECT_EQ(try_set("p:/x", "cpuset.cpus=0"), 0);
    EXPECT_EQ(outside("p:/x"), "");
    EXPECT_EQ(try_set("p:/x", "cpuset.cpus=0-1"), 0);
  }
  attach_pid("p:/", storm.pid());
  attach_pid("p:/y", storm.pid());
  EXPECT_EQ(outside("p:/y"), "");
}

/* A deadline task has all CPUs, says the kernel: nothing is set, whatever else the command was to set, and nobody is moved. */
TEST_F(Refused, AListThatOneMemberCannotHave) {
  std::string all = kCpus.online().to_string();
  create("p:/x", {"cpuset.cpus=" + all});
  Background first([] { return ::pause(); });
  Background deadline([] { return ::pause(); });
  Background own([] { return ::pause(); });
  for (const Background* one : {&first, &deadline, &own}) attach_pid("p:/x", one->pid());
  if (make_deadline(deadline.pid()) != 0) CTN_SKIP("no SCHED_DEADLINE to be had");
  ASSERT_EQ(set_mask("0", own.pid()), 0);
  EXPECT_EQ(try_set("p:/x", "cpuset.cpus=1", "notify_on_release=1"), EBUSY);
  EXPECT_EQ(try_set("p:/x", "notify_on_release=1", "cpuset.cpus=1"), EBUSY);
  EXPECT_EQ(try_set("p:/x", "memset.mems=0", "cpuset.cpus=1"), EBUSY);
  EXPECT_EQ(text("p:/x", "cpuset.cpus"), all);
  EXPECT_EQ(text("p:/x", "memset.mems"), "");
  EXPECT_EQ(text("p:/x", "notify_on_release"), "0");
  EXPECT_EQ(in_force("p:/x"), all);
  EXPECT_EQ(mask(first), all);
  EXPECT_EQ(mask(deadline), all);
  EXPECT_EQ(mask(own), "0");
  EXPECT_EQ(set_mask("1", first.pid()), 0); /* by the hook's rules, too */
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
  EXPECT_EQ(ctnbpf({"create", "p:/z"}).err, ""); /* and the next command has no trouble with it */

  create("p:/one", {"cpuset.cpus=1"});
  auto refused = ctnbpf({"attach", "p:/one", std::to_string(deadline.pid())});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("is a deadline task (SCHED_DEADLINE)"), std::string::npos) << refused.err;
  EXPECT_NE(ctnbpf({"where", std::to_string(deadline.pid())}).out.find(":/x\n"), std::string::npos);
  EXPECT_EQ(mask(deadline), all);
}

}  // namespace
}  // namespace ctnbpf::test
