/* Ways out of a container that a user was given, each of which is closed. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <filesystem>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

constexpr uid_t kAlice = 60001;
constexpr uid_t kBob = 60002;

int become(uid_t uid) {
  return ::setresgid(uid, uid, uid) == 0 && ::setresuid(uid, uid, uid) == 0 ? 0 : 1;
}

class Escape : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    out({"create", "-p", "default:/a/b", "default:/second", "--owner", "60001:60001"});
    out({"chown", "60001:60001", "default:/a"});
    create("default:/other");
  }
  /* Of that user, who waits; once it is there. */
  Background task_of(uid_t uid, const std::string& address) {
    Background task([uid] { return become(uid) == 0 ? ::pause() : 1; });
    std::string status = "/proc/" + std::to_string(task.pid());
    struct stat st = {};
    EXPECT_TRUE(eventually([&] { return ::stat(status.c_str(), &st) == 0 && st.st_uid == uid; }));
    if (!address.empty()) attach_pid(address, task.pid());
    return task;
  }
  static int by_alice(const std::string& file, const std::string& text) {
    return as_user(kAlice, [&] { return write_to(file, text); });
  }
  /* Where it is, in the default hierarchy. */
  static std::string where(pid_t pid) {
    std::string line = out({"where", std::to_string(pid)});
    return line.substr(line.find(':') + 1);
  }
};

/* A copy of a program that runs as root whoever starts it; empty: nowhere here that is allowed. */
class SetuidCopy {
 public:
  explicit SetuidCopy(const std::string& program) {
    for (std::string dir : {"/var/tmp", "/run", "/tmp", "/root"}) {
      struct statvfs at = {};
      if (::statvfs(dir.c_str(), &at) != 0 || (at.f_flag & ST_NOSUID) != 0) continue;
      dir += "/ctnbpf-escape-XXXXXX";
      if (::mkdtemp(dir.data()) == nullptr) continue;
      ::chmod(dir.c_str(), 0755);
      dir_ = dir;
      path_ = dir + "/program";
      std::filesystem::copy_file(std::filesystem::canonical(program), path_);
      EXPECT_EQ(::chmod(path_.c_str(), 04755), 0);
      return;
    }
  }
  SetuidCopy(const SetuidCopy&) = delete;
  SetuidCopy& operator=(const SetuidCopy&) = delete;
  ~SetuidCopy() {
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  const std::string& path() const { return path_; }

 private:
  std::string dir_;
  std::string path_;
};

TEST_F(Escape, ASetuidProgramIsNotTheUsersToMove) {
  SetuidCopy copy("/usr/bin/sleep");
  ASSERT_NE(copy.path(), "");
  Mounted fs({"default"});
  Background root([&] {
    if (become(kAlice) != 0) return 1;
    ::execl(copy.path().c_str(), "sleep", "1000", nullptr);
    return 1;
  });
  std::string pid = std::to_string(root.pid());
  ASSERT_TRUE(eventually(
      [&] { return shell("grep -q '^Uid:.60001.0.0' /proc/" + pid + "/status").code == 0; }));
  EXPECT_EQ(by_alice(fs / "a/procs", pid), EPERM);
  EXPECT_EQ(by_alice(fs / "a/tasks", pid), EPERM);
  EXPECT_EQ(where(root.pid()), "/\n");
}

/* It runs as root and prints what its user likes where its user likes: the file was opened by the user. */
TEST_F(Escape, ASetuidProgramDoesNotWriteForItsUser) {
  SetuidCopy copy("/usr/bin/echo");
  ASSERT_NE(copy.path(), "");
  Mounted fs({"default"});
  Background bobs = task_of(kBob, "");
  auto echo_into = [&](const std::string& file, const std::string& text) {
    return as_user(kAlice, [&] {
      int fd = ::open(file.c_str(), O_WRONLY);
      if (fd < 0) return 100;
      ::dup2(fd, 1);
      ::execl(copy.path().c_str(), "echo", "-n", text.c_str(), nullptr);
      return 101;
    });
  };
  EXPECT_EQ(echo_into(fs / "a/procs", std::to_string(bobs.pid())), 1); /* a write error */
  EXPECT_EQ(echo_into(fs / "a/procs", std::to_string(::getpid())), 1);
  EXPECT_EQ(where(bobs.pid()), "/\n");
  EXPECT_EQ(where(::getpid()), "/\n");
  EXPECT_NE(read_from(fs / ".errors").find("does not run as user 60001 alone"), std::string::npos);
}

TEST_F(Escape, AFileThatRootHasOpenIsNotOpenedAgain) {
  Mounted fs({"default"});
  Background own = task_of(kAlice, "default:/a");
  for (const char* name : {"other/procs", "procs", "a/notify_on_release", "a/.set"}) {
    int fd = ::open((fs / name).c_str(), O_WRONLY);
    ASSERT_GE(fd, 0) << name;
    std::string of_root = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd);
    std::string inherited = "/proc/self/fd/" + std::to_string(fd);
    EXPECT_EQ(by_alice(of_root, std::to_string(own.pid())), EACCES) << name;
    EXPECT_EQ(by_alice(inherited, std::to_string(own.pid())), EACCES) << name;
    ::close(fd);
  }
  EXPECT_EQ(where(own.pid()), "/a\n");
}

/* As file servers have them: a thread that is somebody's, of a process that is not. */
TEST_F(Escape, AThreadOfAMixedProcessIsNotTheUsersToMove) {
  Mounted fs({"default"});
  int ends[2] = {};
  ASSERT_EQ(::pipe(ends), 0);
  Background server([&] {
    pthread_t thread = {};
    auto be_alice = [](void* out) -> void* {
      /* The system call itself: that of libc changes all threads. */
      if (::syscall(SYS_setresuid, kAlice, kAlice, kAlice) != 0) return nullptr;
      pid_t tid = ::gettid();
      (void)!::write(*static_cast<int*>(out), &tid, sizeof(tid));
      ::pause();
      return nullptr;
    };
    if (::pthread_create(&thread, nullptr, be_alice, &ends[1]) != 0) return 1;
    return ::pause();
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(ends[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  EXPECT_EQ(by_alice(fs / "a/tasks", std::to_string(tid)), EPERM);
  EXPECT_EQ(by_alice(fs / "a/procs", std::to_string(server.pid())), EPERM);
  EXPECT_EQ(out({"ps", "default:/a", "--threads"}), "");
  EXPECT_EQ(write_to(fs / "a/tasks", std::to_string(tid)), 0); /* root may */
  for (int one : ends) ::close(one);
}

TEST_F(Escape, SymlinksInThePath) {
  Mounted fs({"default"});
  Background own = task_of(kAlice, "default:/a");
  std::string links = "/run/ctnbpf-escape-links";
  std::filesystem::remove_all(links);
  ASSERT_EQ(::mkdir(links.c_str(), 0777), 0);
  ASSERT_EQ(::chmod(links.c_str(), 0777), 0);
  std::string pid = std::to_string(own.pid());
  int failed = as_user(kAlice, [&] {
    if (code_of(::symlink("../../other", (fs / "a/link").c_str())) != EPERM) return 1;
    if (::symlink(fs.dir().c_str(), (links + "/fs").c_str()) != 0) return 2;
    if (write_to(links + "/fs/other/procs", pid) != EACCES) return 3;
    if (write_to(links + "/fs/a/../other/procs", pid) != EACCES) return 4;
    if (code_of(::rename((links + "/fs").c_str(), (fs / "a/fs").c_str())) != EXDEV) return 5;
    if (code_of(::rename((fs / "a/b").c_str(), (links + "/b").c_str())) != EXDEV) return 6;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(where(own.pid()), "/a\n");
  std::filesystem::remove_all(links);
}

TEST_F(Escape, NoRenameLeavesTheTree) {
  out({"create", "-p", "default:/a/b/c"});
  out({"chown", "-r", "60001:60001", "default:/a"});
  Mounted fs;
  int failed = as_user(kAlice, [&] {
    auto move = [&](const std::string& from, const std::string& to, unsigned flags = 0) {
      return code_of(::syscall(SYS_renameat2, AT_FDCWD, (fs / from).c_str(), AT_FDCWD,
                               (fs / to).c_str(), flags));
    };
    if (move("default/a/b", "default/b") != EACCES) return 1;       /* up */
    if (move("default/a/b", "default/second/b") != EPERM) return 2; /* to another tree of hers */
    if (move("default/a/b/c", "default/a/c") != EPERM) return 3;    /* up, within it */
    if (move("default/a", "default/z") != EACCES) return 4;         /* itself */
    if (move("default/other", "default/a/o") != EACCES) return 5;   /* another's into it */
    if (move("default/a/b", "default/second", 2) == 0) return 6;    /* the two change places */
    if (move("default", "mine") != EACCES && move("default", "mine") != EPERM) return 7;
    if (move("default/a/b", "default/a/..") == 0) return 8;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(exists("default:/a/b/c"));
}

TEST_F(Escape, NobodysTaskButItsOwn) {
  Mounted fs({"default"});
  Background bobs = task_of(kBob, "");
  Background saved([] {
    /* Root's, who has put it down for a while. */
    return ::setresuid(kAlice, kAlice, 0) == 0 ? ::pause() : 1;
  });
  ASSERT_TRUE(eventually([&] {
    return shell("grep -q '^Uid:.60001.60001.0' /proc/" + std::to_string(saved.pid()) + "/status")
               .code == 0;
  }));
  for (pid_t pid : {bobs.pid(), saved.pid(), ::getpid()}) {
    EXPECT_EQ(by_alice(fs / "a/procs", std::to_string(pid)), EPERM) << pid;
    EXPECT_EQ(by_alice(fs / "a/tasks", std::to_string(pid)), EPERM) << pid;
  }
  EXPECT_EQ(out({"ps", "-r", "default:/a"}), "");
}

TEST_F(Escape, AUserNamespaceMakesNobodyRoot) {
  Mounted fs({"default"});
  Background bobs = task_of(kBob, "");
  int failed = as_user(kAlice, [&] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 0; /* not allowed: no way out either */
    ::prctl(PR_SET_DUMPABLE, 1);                               /* or these files are root's */
    if (write_to("/proc/self/setgroups", "deny") != 0) return 1;
    if (write_to("/proc/self/uid_map", "0 60001 1\n") != 0) return 2;
    if (write_to("/proc/self/gid_map", "0 60001 1\n") != 0) return 3;
    if (::getuid() != 0) return 4;
    if (write_to(fs / "a/notify_on_release", "1") != EACCES) return 5;
    if (write_to(fs / "a/.set", "notify_on_release=1") != EACCES) return 6;
    if (write_to(fs / "other/procs", "0") != EACCES) return 7;
    if (write_to(fs / "a/procs", std::to_string(bobs.pid())) == 0) return 8;
    if (code_of(::mkdir((fs / "x").c_str(), 0755)) != EACCES) return 9;
    if (::chown((fs / "other").c_str(), 0, 0) == 0) return 10;
    if (write_to(fs / "a/b/notify_on_release", "1") != 0) return 11; /* what it may, it may */
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(where(bobs.pid()), "/\n");
}

TEST_F(Escape, OutAndBackAgain) {
  Mounted fs({"default"});
  Background own = task_of(kAlice, "default:/a/b");
  std::string pid = std::to_string(own.pid());
  EXPECT_EQ(by_alice(fs / "procs", pid), EACCES);
  EXPECT_EQ(by_alice(fs / "second/procs", pid), EPERM); /* hers, but what binds /a does not */
  EXPECT_EQ(by_alice(fs / "a/procs", pid), 0);
  EXPECT_EQ(by_alice(fs / "second/procs", pid), EPERM);
  EXPECT_EQ(by_alice(fs / "a/b/procs", pid), 0);
  /* One that was removed while its task is in it binds on. */
  out({"rm", "--lazy", "default:/a/b"});
  EXPECT_EQ(by_alice(fs / "second/procs", pid), EPERM);
  EXPECT_EQ(by_alice(fs / "a/procs", pid), 0);
}

TEST_F(Escape, MakingItAgainRaisesNoLimit) {
  Mounted fs({"default"});
  limit("default:/a", "3");
  int failed = as_user(kAlice, [&] {
    if (code_of(::rmdir((fs / "a").c_str())) != EACCES) return 1;
    if (::rmdir((fs / "a/b").c_str()) != 0) return 2;
    if (::mkdir((fs / "a/b").c_str(), 0755) != 0) return 3;
    if (write_to(fs / "a/b/.set", "numtasks.limit=max") != 0) return 4;
    if (write_to(fs / "a/numtasks.limit", "max") != EACCES) return 5;
    if (write_to(fs / "a/.set", "numtasks.limit=max") != EACCES) return 6;
    if (code_of(::mkdir((fs / "c").c_str(), 0755)) != EACCES) return 7;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.limit"}), "3\n");
  if (level() < CTN_LEVEL_FALLBACK) return;
  EXPECT_EQ(as_user(kAlice,
                    [&] {
                      if (write_to(fs / "a/b/procs", "0") != 0) return 1;
                      Background one([] { return ::pause(); });
                      Background two([] { return ::pause(); });
                      return ::fork() < 0 && errno == EAGAIN ? 0 : 2;
                    }),
            0);
  EXPECT_LE(number("default:/a", "numtasks.peak"), 3u);
}

TEST_F(Escape, HierarchiesAreRoots) {
  Mounted fs;
  int failed = as_user(kAlice, [&] {
    int code = code_of(::mkdir((fs / "mine").c_str(), 0755));
    if (code != EACCES && code != EPERM) return 1;
    code = code_of(::rmdir((fs / "default").c_str()));
    if (code != EACCES && code != EPERM) return 2;
    if (::chown((fs / "default").c_str(), kAlice, kAlice) == 0) return 3;
    if (::chmod((fs / "default/procs").c_str(), 0666) == 0) return 4;
    if (write_to(fs / "default/release_agent", "/bin/sh") != EACCES) return 5;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  for (const char* words : {"hierarchy create mine", "hierarchy destroy default",
                            "chown 60001 default:/other", "mount /run", "down --force"}) {
    Output refused =
        shell("setpriv --reuid=60001 --regid=60001 --clear-groups " + ctnbpf_path() + " " + words);
    EXPECT_EQ(refused.code, 1) << words;
    EXPECT_NE(refused.err.find("needs root"), std::string::npos) << refused.err;
  }
  EXPECT_TRUE(exists("default:/other"));
}

}  // namespace
}  // namespace ctnbpf::test
