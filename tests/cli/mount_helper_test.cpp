/* mount(8)'s helpers, and the programs of cgroup v1's days that find a mount. */
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

/* mount(8) looks for its helpers in /sbin alone. */
class Helper : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    for (const char* name : {"mount.container", "mount.cpuset"}) {
      std::string link = std::string("/sbin/") + name;
      std::filesystem::path target = std::filesystem::path(ctnbpf_path()).parent_path() / name;
      if (::symlink(target.c_str(), link.c_str()) == 0) made_.push_back(link);
    }
    need_fuse();
    dir_ = "/run/ctnbpf-fs-helper";
    ::mkdir(dir_.c_str(), 0755);
  }
  void TearDown() override {
    unmount(dir_);
    ::rmdir(dir_.c_str());
    for (const std::string& one : made_) ::unlink(one.c_str());
    CliTest::TearDown();
  }
  Output mount(const std::string& words) const { return shell("mount " + words + " " + dir_); }
  /* The subsystems are free. */
  void destroy_default() const { out({"hierarchy", "destroy", "default"}); }

  std::string dir_;
  std::vector<std::string> made_;
};

TEST_F(Helper, TheLineOf2006) {
  Output busy = mount("-t container -o numtasks,cpuacct none");
  EXPECT_EQ(busy.code, 32);
  EXPECT_NE(busy.err.find("'numtasks' is bound to hierarchy 'default'"), std::string::npos)
      << busy.err;
  EXPECT_FALSE(Mounted::is_mounted(dir_));
  destroy_default();
  ASSERT_EQ(mount("-t container -o numtasks,cpuacct none").err, "");
  EXPECT_TRUE(Mounted::is_mounted(dir_));
  EXPECT_NE(out({"hierarchy", "list"}).find("cpuacct,numtasks"), std::string::npos);
  EXPECT_EQ(::mkdir((dir_ + "/x").c_str(), 0755), 0);
  EXPECT_EQ(read_from(dir_ + "/x/numtasks.limit"), "max\n");
  unmount(dir_);
  /* It is found again, and by its name. */
  ASSERT_EQ(mount("-t container -o cpuacct,numtasks,noprefix none").err, "");
  EXPECT_EQ(read_from(dir_ + "/x/limit"), "max\n");
  unmount(dir_);
  std::string name = out({"hierarchy", "list"});
  name = name.substr(0, name.find(' '));
  ASSERT_EQ(mount("-t container " + name).err, "");
  EXPECT_EQ(::rmdir((dir_ + "/x").c_str()), 0);
  EXPECT_NE(mount("-t container -o numtask none").err.find("did you mean"), std::string::npos);
}

TEST_F(Helper, Cpuset) {
  destroy_default();
  ASSERT_EQ(mount("-t cpuset none").err, "");
  EXPECT_EQ(mount("-t cpuset none").err, ""); /* each cset command does that again */
  EXPECT_EQ(shell("grep -c ' " + dir_ + " fuse.ctnbpf ' /proc/self/mounts").out, "1\n");
  std::string cpus = read_from(dir_ + "//cpus");
  EXPECT_NE(cpus.find_first_of("0123456789"), std::string::npos) << cpus;
  for (const char* name : {"z", "b", "m"}) ASSERT_EQ(::mkdir((dir_ + "/" + name).c_str(), 0755), 0);
  Output listed = shell("ls -U -p " + dir_ + " | grep / ");
  EXPECT_EQ(listed.out, "m/\nb/\nz/\n"); /* newest first */
  listed = shell("ls -U " + dir_ + "/z");
  EXPECT_EQ(listed.out,
            "tasks\ncpus\nmems\ncpu_exclusive\nmem_exclusive\nmemory_migrate\nnotify_on_release\n");
  EXPECT_EQ(write_to(dir_ + "/z/cpus", "0"), 0);
  EXPECT_EQ(read_from(dir_ + "/z/cpus"), "0\n");
  EXPECT_EQ(write_to(dir_ + "/z/cpus", "0-"), EINVAL);
  for (const char* name : {"z", "b", "m"}) EXPECT_EQ(::rmdir((dir_ + "/" + name).c_str()), 0);
}

/* Runs `script` where no cpuset of cgroup v1 is mounted: cset would take that. */
Output without_v1(const std::string& script) {
  return shell(
      "unshare -m sh -ec 'for dir in $(grep \" cgroup .*cpuset\" /proc/self/mounts | cut -d\" \" -f2); "
      "do umount -l $dir; done; " +
      script + "'");
}

TEST_F(Helper, CsetOfDebian) {
  if (shell("command -v cset").code != 0) CTN_SKIP("cset is not installed (package cpuset)");
  destroy_default();
  Background task([] { return ::pause(); });
  std::string pid = std::to_string(task.pid());
  Output done = without_v1("cset set -c 0 -s mine; cset proc --move --pid " + pid +
                           " --toset mine; cset proc -l -s mine; taskset -p " + pid +
                           "; cset set -l; cset set -d mine; cset set -l -s mine || echo gone; "
                           "umount /cpusets; rmdir /cpusets");
  EXPECT_EQ(done.code, 0) << done.err;
  for (const char* said : {"created cpuset \"mine\"", "moving 1 userspace tasks to /mine",
                           "cpuset of CPUSPEC(0) with 1 task running", "current affinity mask: 1\n",
                           "deleting cpuset \"/mine\"", "gone"})
    EXPECT_NE(done.out.find(said), std::string::npos) << said << "\n" << done.out;
  EXPECT_TRUE(eventually([] { return shell("pgrep -x mount.cpuset").out.empty(); }));
  out({"hierarchy", "destroy", "cpuset"});
}

/* The shield takes every task of the machine: in VMs only. */
TEST_F(Helper, ShieldOfCset) {
  if (std::getenv("CTNBPF_REQUIRE_KERNEL") == nullptr) GTEST_SKIP() << "in VMs";
  destroy_default();
  Output done = without_v1(
      "cset shield -c 1 -k on; cset set -l; cset shield --exec -- taskset -p 1 >/dev/null; "
      "cset shield --exec -- grep Cpus_allowed_list /proc/self/status; "
      "cset shield --reset; cset set -l; umount /cpusets; rmdir /cpusets");
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.out.find("Cpus_allowed_list:\t1\n"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("deleting \"/user\" and \"/system\" sets"), std::string::npos)
      << done.out;
  std::printf("%s", done.out.c_str());
}

TEST_F(Helper, ToolsOfLibcgroup) {
  if (shell("command -v cgexec").code != 0)
    CTN_SKIP("cgexec is not installed (package cgroup-tools)");
  Output done = ctnbpf({"mount", dir_, "default", "-o", "libcgroup"});
  ASSERT_EQ(done.code, 0) << done.err;
  Background task([] { return ::pause(); });
  std::string pid = std::to_string(task.pid());
  Output used = shell("set -e; cgcreate -g name=ctnbpf:foo; cgexec -g name=ctnbpf:foo cat " + dir_ +
                      "/foo/procs | wc -l; cgclassify -g name=ctnbpf:foo " + pid + "; cat " + dir_ +
                      "/foo/procs; lscgroup | grep ctnbpf; echo " + pid + " > " + dir_ +
                      "/procs; cgdelete -g name=ctnbpf:foo; ls -d " + dir_ + "/foo || true");
  EXPECT_EQ(used.code, 0) << used.err;
  EXPECT_EQ(used.out, "1\n" + pid + "\nname=ctnbpf:/\nname=ctnbpf:/foo\n");
  if (level() >= CTN_LEVEL_FALLBACK) {
    shell("cgcreate -g name=ctnbpf:foo; echo 3 > " + dir_ + "/foo/numtasks.limit");
    Output bomb = shell("cgexec -g name=ctnbpf:foo perl -e 'fork for 1..4; wait while wait > 0'");
    EXPECT_GE(number("default:/foo", "numtasks.events"), 1u) << bomb.err;
    EXPECT_LE(number("default:/foo", "numtasks.peak"), 3u);
    EXPECT_TRUE(eventually([&] { return shell("cgdelete -g name=ctnbpf:foo").code == 0; }));
  }
  ::umount2(dir_.c_str(), MNT_DETACH);
  EXPECT_TRUE(eventually([&] { /* the server takes what is below with it */
                               return shell("grep -q ' " + dir_ + " ' /proc/self/mounts").code != 0;
  }));
}

}  // namespace
}  // namespace ctnbpf::test
