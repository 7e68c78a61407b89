/* Commands in other namespaces than the machine's own: of pids, of mounts. */
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "cli_test.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/tree.h"
#include "tree/lock.h"
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

class PidNamespace : public CliTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::vector<std::string> options{"-m", "-pf"};
    if (GetParam()) options.emplace_back("--mount-proc");
    inside_.emplace(options);
  }
  void TearDown() override {
    inside_.reset(); /* and with it all that is in there, members too */
    CliTest::TearDown();
  }
  Inside& inside() { return *inside_; }

 private:
  std::optional<Inside> inside_;
};
INSTANTIATE_TEST_SUITE_P(Proc, PidNamespace, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "OfItsOwn" : "OfTheMachine"; });

TEST_P(PidNamespace, NumbersAreItsOwn) {
  create("default:/a");
  create("default:/b");
  EXPECT_EQ(inside().succeeds("ctnbpf run --name r sh -c 'exec \"$0\" where $$' $self"),
            bound() + ":/r\n");
  std::string pid = inside().start("sleep 100000");
  inside().succeeds("ctnbpf attach default:/a " + pid);
  EXPECT_EQ(inside().succeeds("ctnbpf where " + pid), bound() + ":/a\n");
  EXPECT_EQ(inside().succeeds("ctnbpf ps default:/a"), pid + "\n");
  EXPECT_TRUE(inside().succeeds("ctnbpf explain " + pid).starts_with(pid + " (sleep)\n"));
  EXPECT_NE(inside().succeeds("ctnbpf tree -t").find("─ " + pid + " sleep\n"), std::string::npos);
  std::string outside = out({"ps", "default:/a"});
  EXPECT_NE(outside, pid + "\n");
  EXPECT_EQ(inside().succeeds("ctnbpf fsck"), "clean\n") << "all members can be seen";

  inside().succeeds("ctnbpf attach --thread default:/b " + pid);
  EXPECT_EQ(out({"ps", "default:/b"}), outside);
  inside().succeeds("ctnbpf attach --tree default:/a " + pid);
  EXPECT_EQ(out({"ps", "default:/a"}), outside);
  /* A number that only the machine knows is nobody's in there. */
  outside.pop_back();
  inside().fails("ctnbpf attach default:/b " + outside, {"no process " + outside});
  inside().fails("ctnbpf where " + outside, {"no process or thread " + outside});

  /* Somebody in there has the number that the member has outside. */
  std::string last = std::to_string(std::stoi(outside) - 1);
  inside().run("mount -t proc proc /mnt && echo " + last + " >/mnt/sys/kernel/ns_last_pid");
  std::string stranger = inside().start("sleep 100000");
  ASSERT_EQ(stranger, outside);
  inside().succeeds("ctnbpf attach default:/b " + pid);
  EXPECT_EQ(inside().succeeds("ctnbpf where " + stranger), bound() + ":/\n");
  EXPECT_NE(inside().succeeds("ctnbpf --json kill default:/b").find("\"signalled\": 1"),
            std::string::npos);
  inside().run("kill -0 " + stranger);
  EXPECT_EQ(inside().code(), 0) << "a stranger was killed";
  inside().run("wait " + pid);
  EXPECT_EQ(inside().code(), 137);
}

TEST_P(PidNamespace, PlacesItsTasks) {
  if (kCpus.online().count() < 2) GTEST_SKIP() << "needs 2 CPUs";
  create("default:/a", {"cpuset.cpus=0"});
  EXPECT_EQ(inside().succeeds("ctnbpf run --cpus 1 grep Cpus_allowed_list /proc/self/status"),
            "Cpus_allowed_list:\t1\n");
  std::string pid = inside().start("sleep 100000");
  inside().succeeds("ctnbpf attach default:/a " + pid);
  auto allowed = [&] {
    return affinity::mask_of_thread(std::stoi(out({"ps", "default:/a"}))).to_string();
  };
  EXPECT_EQ(allowed(), "0");
  inside().succeeds("ctnbpf set default:/a cpuset.cpus=1");
  EXPECT_EQ(allowed(), "1");
  EXPECT_EQ(out({"fsck"}), "clean\n");
}

TEST_P(PidNamespace, RefusesWhatNeedsTasksThatItCannotSee) {
  create("default:/x", {"cpuset.cpus=0"});
  Background task = sleeper("default:/x");
  const std::string unseen = "1 task of another pid namespace, which cannot be seen from this one";
  inside().fails("ctnbpf kill default:/x", {"default:/x has " + unseen});
  inside().fails("ctnbpf kill -r -s TERM default:/", {"default:/ has " + unseen});
  EXPECT_EQ(::kill(task.pid(), 0), 0);
  EXPECT_EQ(state().nodes()[slot("default:/x")].flags & CTN_KILLING, 0u);
  inside().fails("ctnbpf ps default:/x", {unseen});
  inside().fails("ctnbpf ps default:/", {"default:/ has tasks outside of this pid namespace"});
  inside().fails("ctnbpf fsck", {"default:/x has 1 of another pid namespace"});
  inside().fails("ctnbpf fsck --repair", {"default:/x has 1 of another pid namespace"});
  inside().fails("ctnbpf set default:/x cpuset.cpus=1", {unseen});
  EXPECT_EQ(out({"get", "-n", "default:/x", "cpuset.cpus"}), "0\n");
  EXPECT_EQ(affinity::mask_of_thread(task.pid()).to_string(), "0");
  inside().fails("ctnbpf down --force", {"default:/x has 1 of another pid namespace"});
  EXPECT_TRUE(exists("default:/x"));
  if (find_attribute(state(), slot("default:/x"), "numfiles.held"))
    inside().fails("ctnbpf files default:/x", {unseen});
  EXPECT_NE(inside().succeeds("ctnbpf tree -t").find("─ (1 task of other pid namespaces)\n"),
            std::string::npos);

  /* What needs nobody, or only those in there, works. */
  EXPECT_EQ(inside().succeeds("ctnbpf get -n default:/x cpuset.cpus"), "0\n");
  inside().succeeds("ctnbpf set default:/x notify_on_release=1");
  EXPECT_EQ(inside().succeeds("ctnbpf run -c default:/x sh -c 'exec \"$0\" where $$' $self"),
            bound() + ":/x\n");
  inside().succeeds("ctnbpf create default:/y && ctnbpf kill default:/y && ctnbpf rm default:/y");
  std::string pid = inside().start("sleep 100000");
  inside().succeeds("ctnbpf attach default:/x " + pid);
  inside().succeeds("ctnbpf attach default:/ " + pid);
  EXPECT_EQ(out({"ps", "default:/x"}), std::to_string(task.pid()) + "\n");
  EXPECT_EQ(out({"fsck"}), "clean\n");
}

/* A container of `run` that is empty while the run is there: neither side takes it for left behind. */
TEST_P(PidNamespace, RunsOfOthersAreNotSweptAway) {
  const std::string left = "/tmp/ctnbpf-left";
  const std::string fifo = "/tmp/ctnbpf-fifo";
  Piped outer({ctnbpf_path(), "run", "--name", "outer", "sh", "-c",
               "\"$0\" attach default:/ $$; echo out; read x", ctnbpf_path()});
  ASSERT_EQ(outer.line(), "out");
  inside().succeeds("rm -f " + left + " " + fifo + "; mkfifo " + fifo);
  inside().start("ctnbpf run --name inner sh -c '\"$0\" attach default:/ $$; echo >" + left +
                 "; read x' $self <" + fifo);
  inside().run("exec 7>" + fifo);
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(left); }));
  inside().succeeds("ctnbpf run true");
  EXPECT_EQ(ctnbpf({"run", "true"}).code, 0);
  EXPECT_TRUE(exists("default:/outer"));
  EXPECT_TRUE(exists("default:/inner"));
  inside().run("exec 7>&-; wait");
  outer.end_input();
  outer.wait();
  EXPECT_FALSE(exists("default:/outer"));
  EXPECT_TRUE(eventually([&] { return !exists("default:/inner"); }));
  ::unlink(left.c_str());
  ::unlink(fifo.c_str());
}

TEST_P(PidNamespace, EventsHaveItsNumbers) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/l", {"numtasks.limit=1"});
  create("default:/m", {"numtasks.limit=1"});
  std::string pid = inside().start("ctnbpf run -c default:/l perl -e 'fork; sleep 100000'");
  EXPECT_TRUE(eventually([&] { return number("default:/l", "numtasks.failcnt") == 1; }));
  std::string member = inside().succeeds("ctnbpf ps default:/l");
  member.pop_back();
  std::string last = inside().succeeds("ctnbpf events | tail -n 1");
  EXPECT_NE(last.find("  pid " + member + " (perl) uid 0\n"), std::string::npos) << last;
  /* Of a process outside there is no number in there. */
  Background outside = start_in("default:/m", [] { return ::fork() < 0 ? ::pause() : 1; });
  EXPECT_TRUE(eventually([&] { return number("default:/m", "numtasks.failcnt") == 1; }));
  last = inside().succeeds("ctnbpf events | tail -n 1");
  EXPECT_NE(last.find("  pid - ("), std::string::npos) << last;
}

class MountNamespace : public CliTest {
 protected:
  /* What is mounted over, and whose mode is changed, is what is there. */
  void SetUp() override {
    CliTest::SetUp();
    if (!IsSkipped() && ::access("/sys/kernel/tracing/options", F_OK) != 0)
      CTN_SKIP("no tracefs is mounted there");
  }
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
    EXPECT_NE(run(argv).code, 124) << line_of(args);
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
