/* Containers of users who are not root, through a mount. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <thread>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

constexpr uid_t kAlice = 60001;
constexpr uid_t kBob = 60002;

class MountOwner : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    out({"create", "default:/a", "--owner", "60001:60001"});
    create("default:/other");
  }
  static std::string move_to(const std::string& list, pid_t pid) {
    return std::to_string(write_to(list, std::to_string(pid)));
  }
  /* A task of that user that waits; in `address`, if one is given. */
  static Background task_of(uid_t uid) {
    return Background([uid] {
      if (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) return 1;
      return ::pause();
    });
  }
  static bool runs_as(pid_t pid, uid_t uid) {
    struct stat st = {};
    return ::stat(("/proc/" + std::to_string(pid)).c_str(), &st) == 0 && st.st_uid == uid;
  }
};

TEST_F(MountOwner, TheOwnerRulesBelowAndNotItself) {
  Mounted fs({"default"});
  struct stat st = {};
  ASSERT_EQ(::stat((fs / "a").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kAlice);
  EXPECT_EQ(st.st_gid, kAlice);
  ASSERT_EQ(::stat((fs / "a/tasks").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kAlice);
  ASSERT_EQ(::stat((fs / "a/notify_on_release").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 0u);
  int failed = as_user(kAlice, [&] {
    auto mkdir_in = [&](const char* path) { return code_of(::mkdir((fs / path).c_str(), 0755)); };
    if (mkdir_in("a/b") != 0) return 1;
    if (mkdir_in("c") != EACCES || mkdir_in("other/c") != EACCES) return 2;
    if (write_to(fs / "a/b/notify_on_release", "1") != 0) return 3;
    if (write_to(fs / "a/notify_on_release", "1") != EACCES) return 4;
    if (write_to(fs / "notify_on_release", "1") != EACCES) return 5;
    if (code_of(::rmdir((fs / "a").c_str())) != EACCES) return 6;
    if (code_of(::rename((fs / "a").c_str(), (fs / "z").c_str())) != EACCES) return 7;
    if (code_of(::rename((fs / "a/b").c_str(), (fs / "b").c_str())) != EACCES) return 8;
    if (::rename((fs / "a/b").c_str(), (fs / "a/c").c_str()) != 0) return 9;
    if (code_of(::chown((fs / "a/c").c_str(), kBob, kBob)) != EPERM) return 10;
    if (::chmod((fs / "a/c").c_str(), 0700) != 0) return 11;
    if (code_of(::chmod((fs / "other").c_str(), 0777)) != EPERM) return 12;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  ASSERT_EQ(::stat((fs / "a/c").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kAlice);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  EXPECT_EQ(as_user(kBob, [&] { return write_to(fs / "a/c/tasks", "0"); }), EACCES);
  EXPECT_EQ(as_user(kBob, [&] { return code_of(::mkdir((fs / "a/d").c_str(), 0755)); }), EACCES);
  EXPECT_EQ(as_user(kAlice, [&] { return code_of(::rmdir((fs / "a/c").c_str())); }), 0);
  /* The records are the kernel's: another server has them. */
  Mounted again({"default"});
  ASSERT_EQ(::stat((again / "a").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kAlice);
}

TEST_F(MountOwner, WhoMayAttachWhom) {
  out({"create", "-p", "default:/a/b", "--owner", "60001"});
  Mounted fs({"default"});
  Background own = task_of(kAlice);
  Background elsewhere = task_of(kAlice);
  Background bobs = task_of(kBob);
  Background mixed([] {
    if (::setresuid(kAlice, kAlice, 0) != 0) return 1;
    return ::pause();
  });
  for (const Background* one : {&own, &elsewhere, &mixed})
    ASSERT_TRUE(eventually([&] { return runs_as(one->pid(), kAlice); }));
  attach_pid("default:/other", elsewhere.pid());
  std::string a = fs / "a/procs";
  std::string b = fs / "a/b/procs";
  auto alice = [&](const std::string& list, const std::string& text) {
    return as_user(kAlice, [&] { return write_to(list, text); });
  };
  std::string self = std::to_string(own.pid());
  EXPECT_EQ(alice(a, self), 0); /* from the root */
  EXPECT_EQ(alice(b, self), 0); /* down and up in its own tree */
  EXPECT_EQ(alice(a, self), 0);
  EXPECT_EQ(alice(fs / "procs", self), EACCES);
  EXPECT_EQ(alice(fs / "other/procs", self), EACCES);
  EXPECT_EQ(alice(a, std::to_string(elsewhere.pid())), EPERM); /* it would escape */
  EXPECT_EQ(alice(a, std::to_string(bobs.pid())), EPERM);
  EXPECT_EQ(alice(a, std::to_string(mixed.pid())), EPERM);
  EXPECT_EQ(alice(a, std::to_string(::getpid())), EPERM);
  EXPECT_EQ(alice(a, "0"), 0);
  EXPECT_EQ(as_user(kBob, [&] { return write_to(a, "0"); }), EACCES);
  std::string said = read_from(fs / ".errors");
  EXPECT_NE(said.find("not in the tree of default:/a"), std::string::npos) << said;
  /* A reader sees the lines of its own user. */
  EXPECT_EQ(as_user(kBob,
                    [&] {
                      std::string all = read_from(fs / ".errors");
                      return all.find(" 60001 ") == std::string::npos ? 0 : 1;
                    }),
            0);
}

TEST_F(MountOwner, ADescriptorHandedOnGivesNobodyMore) {
  Mounted fs({"default"});
  Background own = task_of(kAlice);
  ASSERT_TRUE(eventually([&] { return runs_as(own.pid(), kAlice); }));
  std::string pid = std::to_string(own.pid());
  auto write_by = [&](uid_t uid, int fd, const std::string& text) {
    return as_user(uid, [&] { return code_of(::write(fd, text.data(), text.size())); });
  };
  int by_root = ::open((fs / "other/procs").c_str(), O_WRONLY);
  EXPECT_EQ(write_by(kAlice, by_root, pid), EACCES);
  ::close(by_root);
  by_root = ::open((fs / "a/notify_on_release").c_str(), O_WRONLY);
  EXPECT_EQ(write_by(kAlice, by_root, "1"), EACCES);
  ::close(by_root);
  /* The other way: who opens it does not get what root may do. */
  int pair[2] = {};
  ASSERT_EQ(::pipe(pair), 0);
  Background opener([&] {
    if (::setresuid(kAlice, kAlice, kAlice) != 0) return 1;
    int fd = ::open((fs / "a/procs").c_str(), O_WRONLY);
    if (::write(pair[1], &fd, sizeof(fd)) != sizeof(fd)) return 1;
    return ::pause();
  });
  int number = -1;
  ASSERT_EQ(::read(pair[0], &number, sizeof(number)), static_cast<ssize_t>(sizeof(number)));
  int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, opener.pid(), 0));
  int fd = static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, number, 0));
  ASSERT_GE(fd, 0);
  std::string ours = std::to_string(::getpid());
  EXPECT_EQ(code_of(::write(fd, ours.data(), ours.size())), EPERM);
  for (int one : {fd, pidfd, pair[0], pair[1]}) ::close(one);
}

TEST_F(MountOwner, AUserNamespaceGivesNobodyMore) {
  Mounted fs({"default"});
  EXPECT_EQ(as_user(kBob,
                    [&] {
                      if (::unshare(CLONE_NEWUSER) != 0)
                        return 0;                  /* not allowed here: no way out either */
                      ::prctl(PR_SET_DUMPABLE, 1); /* or the file is root's */
                      int map = ::open("/proc/self/uid_map", O_WRONLY);
                      std::string text = "0 60002 1\n";
                      if (::write(map, text.data(), text.size()) < 0) return 1;
                      return write_to(fs / "a/tasks", "0") == EACCES ? 0 : 2;
                    }),
            0);
}

TEST_F(MountOwner, Chown) {
  out({"create", "default:/a/b"});
  out({"chown", "60002:60003", "default:/a", "-r"});
  Mounted fs({"default"});
  for (const char* path : {"a", "a/tasks", "a/b", "a/b/procs", "a/b/notify_on_release"}) {
    struct stat st = {};
    ASSERT_EQ(::stat((fs / path).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, kBob) << path;
    EXPECT_EQ(st.st_gid, 60003u) << path;
  }
  ASSERT_EQ(::chown((fs / "a").c_str(), kAlice, static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(as_user(kAlice, [&] { return code_of(::rmdir((fs / "a/b").c_str())); }), 0);
  fails({"chown", "nobody-such", "default:/a"}, 1, {"no user 'nobody-such'", "USER[:GROUP]"});
  fails({"chown", "root:no-such", "default:/a"}, 1, {"no group 'no-such'"});
  fails({"chown", "", "default:/a"}, 1, {"no user ''"});
  fails({"create", "default:/q", "--owner", "4294967295"}, 1, {"no user '4294967295'"});
  EXPECT_FALSE(exists("default:/q"));
}

}  // namespace
}  // namespace ctnbpf::test
