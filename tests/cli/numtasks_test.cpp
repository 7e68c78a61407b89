/* What the command line shows of shares and fork rates; explain; attach --within-limits. */
#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class NumtasksCommand : public CliTest {
 protected:
  /* On any kernel. */
  void set_any(const std::string& address, const std::vector<std::string>& settings) {
    std::vector<std::string> args = {"set", "--best-effort", address};
    args.insert(args.end(), settings.begin(), settings.end());
    out(args);
  }
  static nlohmann::json bound_of(const nlohmann::json& explained, const std::string& what,
                                 const std::string& on) {
    for (const auto& one : explained["bounds"])
      if (one["what"] == what && one["on"] == on) return one;
    return nullptr;
  }
};

TEST_F(NumtasksCommand, SharesAreReadAndWrittenInTheFormOf2006) {
  create("default:/a");
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.shares"}),
            "min_shares=dontcare,max_shares=dontcare,child_shares_divisor=100\n");
  set_any("default:/", {"numtasks.total_numtasks=1000"});
  set_any("default:/a", {"numtasks.shares=min_shares=30,max_shares=50,child_shares_divisor=10"});
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.shares"}),
            "min_shares=30,max_shares=50,child_shares_divisor=10\n");
  EXPECT_EQ(out({"get", "default:/a", "numtasks.guarantee", "numtasks.ceiling"}),
            "numtasks.guarantee: 300\nnumtasks.ceiling: 500\n");
  set_any("default:/a", {"numtasks.shares=max_shares=-3"});
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.shares"}),
            "min_shares=30,max_shares=dontcare,child_shares_divisor=10\n");
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.ceiling"}), "max\n");
  EXPECT_EQ(out({"tree"}).find("1000"), std::string::npos)
      << "a root is not limited by what it shares out";
}

TEST_F(NumtasksCommand, SharesNameTheRuleAndTheNumbers) {
  create("default:/a");
  create("default:/b");
  set_any("default:/a", {"numtasks.shares=min_shares=60"});
  auto bad = [](const std::string& shares) {
    return std::vector<std::string>{"set", "--best-effort", "default:/b",
                                    "numtasks.shares=" + shares};
  };
  fails(bad("min_shares=41"), 1,
        {"numtasks.shares of default:/b", "min_shares 41 and the 60 of its siblings",
         "child_shares_divisor 100"});
  fails_json(bad("min_shares=41"), 1, "EINVAL");
  fails(bad("max_shares=101"), 1, {"max_shares 101 exceeds", "100"});
  fails(bad("min_shares=20,max_shares=19"), 1, {"min_shares 20 exceeds max_shares 19"});
  fails({"set", "--best-effort", "default:/", "numtasks.shares=child_shares_divisor=59"}, 1,
        {"child_shares_divisor cannot be 59: the children's min_shares sum up to 60"});
  fails(bad("shares=3"), 1, {"numtasks.shares cannot have 'shares=3'", "use min_shares=N"});
  fails_json({"set", "--best-effort", "default:/", "numtasks.shares=min_shares=3"}, 1, "EPERM");
  fails_json({"set", "--best-effort", "default:/a", "numtasks.total_numtasks=3"}, 1, "EPERM");
  EXPECT_EQ(out({"get", "-n", "default:/b", "numtasks.shares"}),
            "min_shares=dontcare,max_shares=dontcare,child_shares_divisor=100\n");
  out({"rm", "default:/a"}); /* its 60 go back */
  set_any("default:/b", {"numtasks.shares=min_shares=41"});
}

TEST_F(NumtasksCommand, ForkRateTakesBothNumbersOrOne) {
  create("default:/a");
  set_any("default:/a", {"numtasks.forkrate=10/5"});
  EXPECT_EQ(out({"get", "default:/a", "numtasks.forkrate", "numtasks.forkrate_interval"}),
            "numtasks.forkrate: 10\nnumtasks.forkrate_interval: 5\n");
  set_any("default:/a", {"numtasks.forkrate=20"});
  EXPECT_EQ(number("default:/a", "numtasks.forkrate_interval"), 5u);
  set_any("default:/a", {"numtasks.forkrate=max", "numtasks.forkrate_interval=1"});
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.forkrate"}), "max\n");
  for (const char* wrong : {"", "x", "10/", "10/0", "/5", "10/5/5", "max/5", "10/max"})
    fails_json({"set", "--best-effort", "default:/a", std::string("numtasks.forkrate=") + wrong}, 1,
               "EINVAL");
  fails_json({"set", "--best-effort", "default:/a", "numtasks.forkrate=1/86401"}, 1, "ERANGE");
  fails_json({"set", "--best-effort", "default:/a", "numtasks.forkrate_interval=0"}, 1, "EINVAL");
  fails_json({"set", "--best-effort", "default:/", "numtasks.forkrate=5"}, 1, "EPERM");
}

TEST_F(NumtasksCommand, RunWithAForkRate) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  Output ran = ctnbpf(
      {"run", "--forkrate", "3/60", "--", "sh", "-c", "for i in 1 2 3 4 5; do (exit 0); done"});
  EXPECT_NE(ran.code, 0) << "the fourth fork fails, and the shell ends";
  EXPECT_NE(ran.err.find("annot fork"), std::string::npos) << ran.err;
  EXPECT_NE(out({"events"}).find("fork-rate-refused"), std::string::npos);
  EXPECT_EQ(out({"run", "--forkrate", "3/60", "--", "sh", "-c", "(echo one); (echo two)"}),
            "one\ntwo\n");
}

TEST_F(NumtasksCommand, StatsInOneLine) {
  create("default:/a");
  EXPECT_EQ(out({"get", "-n", "default:/a", "numtasks.stats"}),
            "current=0,peak=0,successes=0,failures=0,rate_failures=0,borrowed=0\n");
}

TEST_F(NumtasksCommand, ExplainNamesEachBoundAndTheNearest) {
  create("default:/a");
  create("default:/a/b");
  limit("default:/a", "4");
  limit("default:/a/b", "9");
  set_any("default:/a/b", {"numtasks.forkrate=7/60"});
  Background other = sleeper("default:/a");
  Background task = sleeper("default:/a/b");
  std::string pid = std::to_string(task.pid());
  auto said = json({"explain", pid});
  EXPECT_EQ(said["pid"], task.pid());
  auto above = bound_of(said, "numtasks.limit", "default:/a");
  EXPECT_EQ(above, nlohmann::json({{"resource", "tasks"},
                                   {"what", "numtasks.limit"},
                                   {"on", "default:/a"},
                                   {"used", 2},
                                   {"most", 4},
                                   {"left", 2},
                                   {"nearest", true}}));
  auto own = bound_of(said, "numtasks.limit", "default:/a/b");
  EXPECT_EQ(own["left"], 8);
  EXPECT_EQ(own["nearest"], false);
  EXPECT_EQ(bound_of(said, "numtasks.forkrate", "default:/a/b")["left"], 7);
  EXPECT_GT(bound_of(said, "threads-max", "the machine")["most"], 100);
  EXPECT_GT(bound_of(said, "pid_max", "the machine")["used"], 2);
  std::string text = out({"explain", pid});
  EXPECT_TRUE(text.starts_with(pid + " (")) << text;
  EXPECT_NE(text.find("\n* numtasks.limit"), std::string::npos) << text;
  EXPECT_NE(text.find("2 of 4"), std::string::npos) << text;
}

TEST_F(NumtasksCommand, ExplainShowsShares) {
  create("default:/a");
  create("default:/b");
  set_any("default:/", {"numtasks.total_numtasks=20"});
  set_any("default:/a", {"numtasks.shares=min_shares=30,max_shares=40"});
  Background task = sleeper("default:/a");
  auto said = json({"explain", std::to_string(task.pid())});
  EXPECT_EQ(bound_of(said, "numtasks.ceiling", "default:/a")["left"], 7);
  auto total = bound_of(said, "numtasks.total_numtasks", "default:/");
  EXPECT_EQ(total["used"], 0);
  EXPECT_EQ(total["most"], 14);
  EXPECT_EQ(total["left"], 19) << "5 that are guaranteed, 14 that can be borrowed";
}

/* A barrier does not bind root, and each resource has a nearest of its own. */
TEST_F(NumtasksCommand, ExplainShowsFiles) {
  if (shell(ctnbpf_path() + " subsystems | grep -q '^numfiles .*default'").code != 0)
    CTN_SKIP("numfiles is not bound");
  create("default:/a");
  create("default:/a/b");
  set_any("default:/a", {"numfiles.barrier=20", "numfiles.limit=50"});
  set_any("default:/a/b", {"numfiles.ceiling=80"});
  limit("default:/a/b", "2");
  Background root = sleeper("default:/a/b");
  auto said = json({"explain", std::to_string(root.pid())});
  EXPECT_EQ(bound_of(said, "numfiles.barrier", "default:/a"), nullptr);
  EXPECT_EQ(bound_of(said, "numfiles.limit", "default:/a")["nearest"], true);
  EXPECT_EQ(bound_of(said, "numfiles.limit", "default:/a")["resource"], "files");
  EXPECT_EQ(bound_of(said, "numfiles.limit", "default:/a/b")["most"], 80);
  EXPECT_EQ(bound_of(said, "numtasks.limit", "default:/a/b")["nearest"], true);
  Background user([] {
    ::setuid(12345);
    return ::pause();
  });
  std::string pid = std::to_string(user.pid());
  EXPECT_TRUE(eventually(
      [&] { return shell("grep -q '^Uid:.12345' /proc/" + pid + "/status").code == 0; }));
  out({"attach", "default:/a", pid});
  said = json({"explain", pid});
  EXPECT_EQ(bound_of(said, "numfiles.barrier", "default:/a")["nearest"], true);
}

TEST_F(NumtasksCommand, ExplainShowsTheKernelsOwnBounds) {
  std::string group = "/sys/fs/cgroup/ctnbpf-explain";
  if (::access("/sys/fs/cgroup/cgroup.controllers", R_OK) != 0 ||
      shell("echo +pids > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p " + group).code != 0)
    CTN_SKIP("no cgroup v2 pids controller here");
  Background task([] {
    ::setuid(12345);
    return ::pause();
  });
  std::string pid = std::to_string(task.pid());
  shell("echo 5 > " + group + "/pids.max; echo " + pid + " > " + group +
        "/cgroup.procs; prlimit --nproc=77 -p " + pid);
  EXPECT_TRUE(eventually(
      [&] { return shell("grep -q '^Uid:.12345' /proc/" + pid + "/status").code == 0; }));
  auto said = json({"explain", pid});
  EXPECT_EQ(bound_of(said, "pids.max", "cgroup /ctnbpf-explain")["left"], 4);
  EXPECT_EQ(bound_of(said, "RLIMIT_NPROC", "uid 12345")["most"], 77);
  task.signal(SIGKILL);
  task.wait();
  EXPECT_TRUE(eventually([&] { return ::rmdir(group.c_str()) == 0; }));
}

TEST_F(NumtasksCommand, ExplainFailsAsWhereDoes) {
  fails({"explain", "0"}, 1, {"'0' is not a pid"});
  Background task([] { return 0; });
  std::string pid = std::to_string(task.pid());
  task.wait();
  fails_json({"explain", pid}, 1, "ESRCH");
}

TEST_F(NumtasksCommand, AttachWithinLimitsRefusesAndChangesNothing) {
  create("default:/a");
  limit("default:/a", "1");
  Background one = sleeper("default:/a");
  Background two([] { return ::pause(); });
  std::string pid = std::to_string(two.pid());
  fails({"attach", "--within-limits", "default:/a", pid}, 1,
        {"1 task would exceed numtasks.limit of default:/a: 1 used of 1, room for 0"});
  fails_json({"attach", "--within-limits", "--tree", "default:/a", pid}, 1, "EAGAIN");
  EXPECT_EQ(out({"where", pid}), bound() + ":/\n");
  out({"attach", "default:/a", pid});
  out({"attach", "--within-limits", "default:/a", pid}); /* there already */
}

}  // namespace
}  // namespace ctnbpf::test
