/* Commands in other namespaces than the machine's own: of pids, of mounts. */
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "cli_test.h"
#include "ctnbpf/tree.h"
#include "lock.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/kind.h"

namespace ctnbpf::test {
namespace {

/* A shell in namespaces of its own, with `ctnbpf` and `$self`, its path. */
class Inside {
 public:
  explicit Inside(std::vector<std::string> unshare) {
    unshare.insert(unshare.begin(), "unshare");
    unshare.insert(unshare.end(), {"--kill-child", "sh"});
    shell_.emplace(unshare);
    shell_->type("self=" + ctnbpf_path() + "; ctnbpf() { \"$self\" \"$@\"; }\n");
  }

  /* What the line prints, errors too. */
  std::string run(const std::string& line) {
    constexpr const char* kEnd = "the line is done: ";
    shell_->type("{ " + line + "; } </dev/null 2>&1; code=$?; echo; echo \"" + kEnd + "$code\"\n");
    std::string text;
    for (;;) {
      std::string got = shell_->line();
      if (got.starts_with(kEnd)) {
        code_ = std::stoi(got.substr(std::string(kEnd).size()));
        if (text.ends_with("\n")) text.pop_back(); /* of our `echo` */
        return text;
      }
      text += got + "\n";
      if (text.ends_with("\n\n\n\n")) return text + "(the shell is gone)";
    }
  }
  int code() const { return code_; }

  std::string succeeds(const std::string& line) {
    std::string said = run(line);
    EXPECT_EQ(code_, 0) << line << "\n" << said;
    return said;
  }
  void fails(const std::string& line, const std::vector<std::string>& says) {
    std::string said = run(line);
    EXPECT_EQ(code_, 1) << line << "\n" << said;
    for (const std::string& one : says) EXPECT_NE(said.find(one), std::string::npos) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  }
  /* A process in the background; its number in there. */
  std::string start(const std::string& command) {
    std::string said = run(command + " >/dev/null 2>&1 & echo $!");
    return said.substr(0, said.find('\n'));
  }

 private:
  std::optional<Piped> shell_;
  int code_ = -1;
};

class MountNamespace : public CliTest {
 protected:
  /* Does this process wait for a lock? */
  static bool waits(pid_t pid) {
    std::ifstream file("/proc/locks");
    for (std::string line; std::getline(file, line);)
      if (line.find("-> FLOCK") != std::string::npos &&
          line.find(" " + std::to_string(pid) + " ") != std::string::npos)
        return true;
    return false;
  }
  static std::string controllers() {
    std::string line;
    std::getline(std::ifstream("/sys/fs/cgroup/cgroup.subtree_control"), line);
    return line;
  }
};

/* Whatever is mounted there, all wait for the same lock. */
TEST_F(MountNamespace, OneLockForTheMachine) {
  for (const char* how :
       {"true", "mount -t tmpfs t /run", "umount -l /sys/kernel/tracing /sys/kernel/debug",
        "mount --bind /proc /sys/kernel/tracing",
        "mkdir -p /sys/kernel/tracing/instances/ctnbpf && mount --bind "
        "/sys/kernel/tracing/instances/ctnbpf /sys/kernel/tracing"}) {
    SCOPED_TRACE(how);
    auto lock = take_writer_lock();
    ASSERT_TRUE(lock.has_value()) << lock.error().what;
    Background other({"unshare", "-m", "sh", "-c",
                      std::string(how) + " && exec \"$0\" create default:/m", ctnbpf_path()});
    EXPECT_TRUE(eventually([&] { return waits(other.pid()); }));
    EXPECT_FALSE(exists("default:/m"));
    lock->reset();
    EXPECT_EQ(other.wait(), 0);
    EXPECT_TRUE(exists("default:/m"));
    remove("default:/m");
  }
  ::rmdir("/sys/kernel/tracing/instances/ctnbpf");
}

TEST_F(MountNamespace, TheLockIsRootsAndEndsWithItsHolder) {
  ASSERT_EQ(shell("mount -o remount,mode=755 /sys/kernel/tracing").code, 0);
  struct stat info = {};
  ASSERT_EQ(::stat("/sys/kernel/tracing/options", &info), 0);
  EXPECT_EQ(info.st_uid, 0u);
  EXPECT_EQ(info.st_mode & 0027, 0u) << "others may not open it, root's group may not write";
  EXPECT_NE(shell("setpriv --reuid 65534 --regid 65534 --clear-groups flock -n "
                  "/sys/kernel/tracing/options true")
                .code,
            0);
  EXPECT_EQ(shell("mount -o remount,mode=700 /sys/kernel/tracing").code, 0);
  std::array<int, 2> ready = {};
  ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
  Background holder([&] {
    auto lock = take_writer_lock();
    (void)!::write(ready[1], "", 1);
    return ::pause();
  });
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  Background next({ctnbpf_path(), "create", "default:/next"});
  EXPECT_TRUE(eventually([&] { return waits(next.pid()); }));
  holder.signal(SIGKILL);
  EXPECT_EQ(next.wait(), 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

/* Where tracefs is not and cannot be mounted nothing is changed without the lock; what only looks needs none. */
TEST_F(MountNamespace, NoLockNoChange) {
  const std::string without =
      "umount -l /sys/kernel/tracing /sys/kernel/debug; exec setpriv "
      "--bounding-set -sys_admin --inh-caps -sys_admin \"$0\" ";
  auto there = [&](const std::string& args) {
    return run({"unshare", "-m", "sh", "-c", without + args, ctnbpf_path()});
  };
  Output refused = there("create default:/m");
  EXPECT_EQ(refused.code, 1);
  expect_message(refused.err, {"the writer lock is on tracefs", "not at '/sys/kernel/tracing'",
                               "Operation not permitted", "mount or bind it there"});
  EXPECT_FALSE(exists("default:/m"));
  EXPECT_NE(there("where 1").out, "");
}

/* Who has the lock may be stopped for ever: writers wait for it, readers do not. */
TEST_F(MountNamespace, ReadersDoNotWaitForTheLock) {
  create("default:/a");
  Background task = sleeper("default:/a");
  auto lock = take_writer_lock();
  ASSERT_TRUE(lock.has_value()) << lock.error().what;
  const std::string pid = std::to_string(task.pid());
  for (const auto& args : std::vector<std::vector<std::string>>{{"tree", "-t"},
                                                                {"stat"},
                                                                {"ps", "default:/a"},
                                                                {"where", pid},
                                                                {"explain", pid},
                                                                {"get", "default:/a"},
                                                                {"events"},
                                                                {"hierarchy", "list"},
                                                                {"doctor"}}) {
    /* Far from for ever: `doctor` tries hooks for some seconds. */
    std::vector<std::string> argv{"timeout", "60", ctnbpf_path()};
    argv.insert(argv.end(), args.begin(), args.end());
    EXPECT_EQ(run(argv).code, 0) << line_of(args);
  }
}

/* Where our pins are not there is another instance, and ours knows nothing of it. */
TEST_F(MountNamespace, ASecondInstanceHasItsOwnGroups) {
  if (kCpus.online().count() < 2) GTEST_SKIP() << "needs 2 CPUs";
  if (!Groups::available(Groups::Version::kV2)) CTN_SKIP("no cpuset controller of cgroup v2");
  std::string before = controllers();
  create("default:/a", {"cpuset.cpus=0"});
  Background task = sleeper("default:/a");
  auto group_of = [](const std::string& pid) { return shell("cat /proc/" + pid + "/cgroup").out; };
  std::string group = group_of(std::to_string(task.pid()));
  EXPECT_EQ(group.find("0::/ctnbpf/from-"), 0u) << group;
  std::optional<Inside> there;
  there.emplace(std::vector<std::string>{"-m"});
  Inside& inside = *there;
  inside.succeeds("umount /sys/fs/bpf");
  std::string other = inside.succeeds("ctnbpf run --cpus 1 cat /proc/self/cgroup");
  EXPECT_EQ(other.find("0::/ctnbpf-"), 0u) << other;
  std::string second = inside.start("sleep 100000");
  inside.succeeds(
      "ctnbpf create default:/b && ctnbpf set default:/b cpuset.cpus=1 && ctnbpf attach default:/b " +
      second);
  EXPECT_EQ(inside.succeeds("ctnbpf fsck"), "clean\n");
  EXPECT_EQ(group_of(std::to_string(task.pid())), group);
  EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), "0");
  EXPECT_EQ(out({"fsck"}), "clean\n");
  /* The switch stays on for as long as one of the two has groups. */
  EXPECT_EQ(ctnbpf({"down", "--force"}).code, 0);
  EXPECT_EQ(affinity::mask_of_thread(std::stoi(second)).to_string(), "1");
  EXPECT_NE(group_of(second).find("/ctnbpf-"), std::string::npos);
  inside.succeeds("ctnbpf down --force");
  EXPECT_EQ(controllers(), before);
  EXPECT_EQ(shell("ls -d /sys/fs/cgroup/ctnbpf*").out, "");

  /* One whose namespace is gone has left its groups; the next `fsck --repair` clears them away. */
  EXPECT_EQ(ctnbpf({"up"}).code, 0);
  inside.run("ctnbpf up && ctnbpf create default:/b -s cpuset.cpus=1 && ctnbpf attach default:/b " +
             second);
  EXPECT_NE(group_of(second).find("/ctnbpf-"), std::string::npos);
  ::kill(std::stoi(second), SIGKILL);
  there.reset();
  EXPECT_TRUE(eventually([&] { return ctnbpf({"fsck"}).code != 0; })) << "its maps are gone";
  EXPECT_NE(ctnbpf({"fsck", "--repair"}).out.find("is left behind"), std::string::npos);
  EXPECT_EQ(shell("ls -d /sys/fs/cgroup/ctnbpf*").out, "");
  EXPECT_EQ(controllers(), before);
}

/* Two places for pins beside each other, and the ways to write one. */
TEST_F(MountNamespace, PlacesAreToldApart) {
  create("default:/a");
  for (const char* way : {"/sys/fs/bpf//ctnbpf", "/sys/fs/bpf/ctnbpf/",
                          "/sys/fs/../fs/bpf/./ctnbpf", "/sys/fs/bpf/x/../ctnbpf//"})
    EXPECT_EQ(out({"--bpffs", way, "get", "-n", "default:/a", "notify_on_release"}), "0\n") << way;
  Output again = ctnbpf({"--bpffs", "/sys/fs/bpf//ctnbpf/", "up"});
  EXPECT_EQ(again.err.find("ctnbpf: is up already"), 0u) << again.err;

  for (const char* bad : {"maps", "links", "progs", "being-built", "being-removed"})
    fails({"--bpffs", std::string("/sys/fs/bpf/ctnbpf/") + bad, "up"}, 1,
          {"has a name that is kept"});
  fails({"--bpffs", "/sys/fs/bpf/ctnbpf/sub", "up"}, 1, {"is in another instance's place"});
  std::filesystem::create_directories("/sys/fs/bpf/taken/maps");
  for (const char* command : {"up", "down"})
    fails({"--bpffs", "/sys/fs/bpf/taken", command}, 1, {"is something else's: it has 'maps'"});
  EXPECT_TRUE(std::filesystem::exists("/sys/fs/bpf/taken/maps"));
  std::filesystem::remove_all("/sys/fs/bpf/taken");

  ASSERT_EQ(ctnbpf({"--bpffs", "/sys/fs/bpf/x-new", "up"}).code, 0);
  out({"--bpffs", "/sys/fs/bpf/x-new", "create", "default:/there"});
  EXPECT_EQ(ctnbpf({"--bpffs", "/sys/fs/bpf/x", "up"}).code, 0);
  EXPECT_EQ(ctnbpf({"--bpffs", "/sys/fs/bpf/x", "down"}).code, 0);
  out({"--bpffs", "/sys/fs/bpf/x-new", "rm", "default:/there"});
  EXPECT_EQ(ctnbpf({"--bpffs", "/sys/fs/bpf/x-new/", "down"}).code, 0);
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/x-new"));
  EXPECT_TRUE(exists("default:/a"));
}

}  // namespace
}  // namespace ctnbpf::test
