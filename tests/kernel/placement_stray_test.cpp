/* The other doors out of a set: control groups. Refused where a hook can; else told of, and put right by
 * agentd and by the next command. */
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "ctnbpf/agentd.h"
#include "placement/affinity.h"
#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kElsewhere = "/ctnbpf-test-elsewhere";

int write_number(const std::string& file, pid_t number) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  std::string text = std::to_string(number);
  int error = ::write(fd, text.data(), text.size()) < 0 ? errno : 0;
  ::close(fd);
  return error;
}

/* A child in that group from the start: its pid, or a negative errno. It waits to be killed. */
pid_t clone_into(const std::string& group) {
  int fd = ::open(group.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  clone_args arguments = {};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<__u64>(fd);
  long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid == 0)
    for (;;) ::pause();
  int error = errno;
  ::close(fd);
  return pid < 0 ? -error : static_cast<pid_t>(pid);
}

class Stray : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (!IsSkipped()) need_cpus(2);
    if (!IsSkipped()) use_driver(GetParam());
    if (!IsSkipped() && !std::filesystem::exists(cgroup_root() + "/cgroup.procs"))
      CTN_SKIP("no cgroup v2 is mounted there");
    if (IsSkipped()) return;
    if (GetParam() == std::string("affinity") && group_driver()) {
      std::ofstream(cgroup_root() + "/cgroup.subtree_control") << "+cpuset" << std::flush;
      switched_ = true;
    }
    make_group(kElsewhere);
    create("p:/a", {"cpuset.cpus=1"});
  }
  void TearDown() override {
    if (IsSkipped()) return PlacementTest::TearDown();
    if (taken_away_) {
      EXPECT_EQ(ctnbpf({"fsck", "--repair"}).code, 0);
    }
    EXPECT_TRUE(eventually(
        [&] { return ::rmdir((cgroup_root() + kElsewhere).c_str()) == 0 || errno == ENOENT; }));
    PlacementTest::TearDown();
    if (switched_)
      std::ofstream(cgroup_root() + "/cgroup.subtree_control") << "-cpuset" << std::flush;
  }
  std::string elsewhere() const { return cgroup_root() + kElsewhere; }
  bool by_affinity() const { return GetParam() == std::string("affinity"); }
  /* Without the hook that refuses, as if it had been skipped, or there were none. */
  void take_the_hook_away() {
    taken_away_ = true;
    for (const char* hook :
         {"l_setscheduler", "f_setscheduler", "a_setscheduler", "b_setscheduler", "c_setscheduler"})
      ::unlink(pins().link(hook).c_str());
  }
  std::uint64_t strayed() const { return state().core().misses[CTN_MISS_STRAYED]; }
  /* Who changes its group without being refused gets other CPUs: not if it is placed by affinity, and the kernel
   * keeps a mask that was set. */
  bool leaves() const {
    utsname name = {};
    ::uname(&name);
    int major = 0;
    int minor = 0;
    (void)std::sscanf(name.release, "%d.%d", &major, &minor);
    return !by_affinity() || major < 6 || (major == 6 && minor < 2);
  }

 private:
  bool switched_ = false;
  bool taken_away_ = false;
};
INSTANTIATE_TEST_SUITE_P(Placement, Stray, ::testing::Values("affinity", "cgroup", "cgroup1"),
                         [](const auto& one) { return std::string(one.param); });

/* By itself, or by anybody who is not us. Nobody else is hindered. */
TEST_P(Stray, NobodyTakesAMemberOutOfItsGroup) {
  if (by_affinity()) return;
  NEED(need_refusals());
  Background member([] { return ::pause(); });
  Background other([] { return ::pause(); });
  attach_pid("p:/a", member.pid());
  std::string group = group_of(member.pid());
  EXPECT_EQ(write_number(elsewhere() + "/cgroup.procs", member.pid()), EPERM);
  EXPECT_EQ(mask(member), "1");
  EXPECT_EQ(group_of(member.pid()), group);
  Background leaver = start_in("p:/a", [&] {
    int error = write_number(elsewhere() + "/cgroup.procs", ::getpid());
    return affinity::mask_of_thread(0).to_string() == "1" ? error : 255;
  });
  EXPECT_EQ(leaver.wait(), EPERM);
  EXPECT_EQ(write_number(elsewhere() + "/cgroup.procs", other.pid()), 0);
  EXPECT_EQ(write_number(cgroup_root() + "/cgroup.procs", other.pid()), 0);
  /* We may, and then it is free. */
  attach_pid("p:/", member.pid());
  EXPECT_EQ(write_number(elsewhere() + "/cgroup.procs", member.pid()), 0);
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
}

/* Those placed by affinity may change their groups, as container engines do; until 6.1 they get all CPUs of where
 * they come to with that, and their set again from the next command. They stay in that group. */
TEST_P(Stray, PlacedByAffinityItMayChangeItsGroup) {
  if (!by_affinity()) return;
  Background member([] { return ::pause(); });
  attach_pid("p:/a", member.pid());
  std::uint64_t before = strayed();
  EXPECT_EQ(write_number(elsewhere() + "/cgroup.procs", member.pid()), 0);
  std::string group = group_of(member.pid());
  EXPECT_EQ(mask(member) == "1", !leaves());
  EXPECT_EQ(strayed() > before, leaves());
  EXPECT_EQ(ctnbpf({"create", "p:/b"}).code, 0);
  EXPECT_EQ(mask(member), "1");
  EXPECT_EQ(group_of(member.pid()), group);
  EXPECT_EQ(ctnbpf({"fsck"}).code, 0);
}

TEST_P(Stray, NoChildIsBornOutsideOfItsGroup) {
  if (by_affinity() || GetParam() == std::string("cgroup1")) return; /* no such call for v1 */
  NEED(need_refusals());
  Background member = start_in("p:/a", [&] {
    pid_t child = clone_into(elsewhere());
    if (child < 0) return -child;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return 255;
  });
  EXPECT_EQ(member.wait(), EPERM);
}

/* Where nothing refused it. */
TEST_P(Stray, TheNextCommandPutsItBack) {
  Background member([] { return ::pause(); });
  attach_pid("p:/a", member.pid());
  take_the_hook_away();
  std::uint64_t before = strayed();
  EXPECT_TRUE(
      eventually([&] { return write_number(elsewhere() + "/cgroup.procs", member.pid()) == 0; }));
  bool left = mask(member) != "1";
  EXPECT_EQ(left, leaves());
  if (!left) return;
  EXPECT_GT(strayed(), before);
  EXPECT_NE(ctnbpf({"events"}).out.find("strayed"), std::string::npos);
  EXPECT_NE(text("p:/a", "cpuset.effective_cpus"), "1");
  EXPECT_EQ(ctnbpf({"create", "p:/b"}).code, 0);
  EXPECT_EQ(mask(member), "1");
}

TEST_P(Stray, ABornStrayIsPutBack) {
  if (GetParam() == std::string("cgroup1")) return;
  if (!leaves()) return;
  take_the_hook_away();
  std::uint64_t before = strayed();
  int tidings[2] = {};
  ASSERT_EQ(::pipe(tidings), 0);
  Background member = start_in("p:/a", [&] {
    pid_t child = 0;
    do child = clone_into(elsewhere());
    while (child == -EPERM); /* the hook is on its way out */
    if (::write(tidings[1], &child, sizeof(child)) != sizeof(child)) return 1;
    return ::pause();
  });
  pid_t child = 0;
  ASSERT_EQ(::read(tidings[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  ASSERT_GT(child, 0);
  EXPECT_GT(strayed(), before);
  EXPECT_EQ(affinity::mask_of_thread(child), kCpus.online());
  EXPECT_EQ(ctnbpf({"create", "p:/b"}).code, 0);
  EXPECT_EQ(affinity::mask_of_thread(child).to_string(), "1");
  ::kill(child, SIGKILL);
}

TEST_P(Stray, AgentdPutsItBack) {
  if (!leaves()) return;
  Background member([] { return ::pause(); });
  attach_pid("p:/a", member.pid());
  std::atomic<bool>* up = shared_flag();
  Background agentd([&] {
    return serve_releases(
               pins(), -1, [up] { *up = true; }, [](const std::string&) {})
               ? 0
               : 1;
  });
  EXPECT_TRUE(eventually([up] { return up->load(); }));
  take_the_hook_away();
  std::uint64_t before = strayed();
  EXPECT_TRUE(
      eventually([&] { return write_number(elsewhere() + "/cgroup.procs", member.pid()) == 0; }));
  EXPECT_TRUE(eventually([&] { return strayed() > before && mask(member) == "1"; }));
}

}  // namespace
}  // namespace ctnbpf::test
