/* run: signals, what is left behind, its own death, odd surroundings. */
#include <array>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class RunEnd : public CliTest {
 protected:
  static constexpr std::array kPassed = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
};

/* Each reaches the command, once, and stops neither `run` nor a command that handles it. */
TEST_F(RunEnd, SignalsToRunReachTheCommand) {
  const char* script =
      "for s in INT TERM HUP QUIT; do trap \"echo $s\" $s; done; echo ready; "
      /* A signal just before `read` blocks would wait for its end: so it ends now and then. */
      "while :; do read -t 0.1 -r line; [ $? -gt 128 ] || exit 9; done";
  Piped run({ctnbpf_path(), "run", "bash", "-c", script});
  EXPECT_EQ(run.line(), "ready");
  const char* names[] = {"INT", "TERM", "HUP", "QUIT"};
  for (std::size_t i = 0; i < kPassed.size(); i++) {
    run.signal(kPassed[i]);
    EXPECT_EQ(run.line(), names[i]);
  }
  run.end_input();
  EXPECT_EQ(run.line(), "");
  EXPECT_EQ(run.wait(), 9);
}

TEST_F(RunEnd, ASignalThatEndsTheCommandIsTheStatus) {
  for (int signal : kPassed) {
    Piped run({ctnbpf_path(), "run", "--name", "sig", "sh", "-c",
               "ulimit -c 0; echo ready; exec sleep 1000"});
    EXPECT_EQ(run.line(), "ready");
    run.signal(signal);
    EXPECT_EQ(run.wait(), 128 + signal);
    EXPECT_FALSE(exists("default:/sig"));
  }
}

/* The command starts as if nobody had been between: own disposition of SIGCHLD, no blocked signals. */
TEST_F(RunEnd, CommandInheritsSignalState) {
  Piped run({ctnbpf_path(), "run", "grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"},
            [] { ::signal(SIGCHLD, SIG_IGN); });
  EXPECT_EQ(run.line(), "SigBlk:\t0000000000000000");
  std::uint64_t ignored = std::stoull(run.line().substr(8), nullptr, 16);
  EXPECT_EQ(ignored & (1U << (SIGCHLD - 1)), 1U << (SIGCHLD - 1));
  EXPECT_EQ(ignored & (1U << (SIGPIPE - 1)), 0u);
  EXPECT_EQ(run.wait(), 0);
}

TEST_F(RunEnd, WorksWithSigchldIgnored) {
  Piped run({ctnbpf_path(), "run", "--name", "x", "sh", "-c", "exit 6"},
            [] { ::signal(SIGCHLD, SIG_IGN); });
  EXPECT_EQ(run.wait(), 6);
  EXPECT_FALSE(exists("default:/x"));
}

TEST_F(RunEnd, TasksLeftBehindKeepTheContainerLingering) {
  Output result =
      ctnbpf({"run", "--name", "left", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err,
            "ctnbpf: default:/left still has 1 task: it lingers with its limits until they end\n");
  EXPECT_FALSE(exists("default:/left"));
  EXPECT_TRUE(out({"tree", "--lingering"}).starts_with("default:/left   1 live, "));
  ::kill(std::stoi(result.out), SIGKILL);
  EXPECT_TRUE(eventually([] { return ctnbpf({"tree", "--lingering"}).out.empty(); }));
}

TEST_F(RunEnd, ContainersMadeInsideStay) {
  Output result = ctnbpf({"run", "--name", "top", ctnbpf_path(), "create", "default:/top/below"});
  EXPECT_EQ(result.code, 0);
  expect_message(result.err, {"default:/top stays", "has 1 container below it"});
  EXPECT_TRUE(exists("default:/top/below"));
  EXPECT_EQ(out({"fsck"}), "clean\n");
  out({"rm", "default:/top/below"});
  EXPECT_EQ(ctnbpf({"fsck"}).out, "default:/top was left behind by a `run` that died\n");
  out({"run", "true"}); /* sweeps it */
}

/* Removed by another command while it runs: nothing to remove at the end, nor to complain about. */
TEST_F(RunEnd, ContainerRemovedMeanwhile) {
  Output result = ctnbpf({"run", "--name", "gone", ctnbpf_path(), "rm", "--lazy", "default:/gone"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

/* The kernel holds the truth: limits stay while tasks are there, and nothing leaks. */
TEST_F(RunEnd, KilledRunLeavesItsLimitUntilTheTasksAreGone) {
  Piped run({ctnbpf_path(), "run", "--name", "dead", "--best-effort", "--numtasks", "5", "sh", "-c",
             "echo $$; read x"});
  std::string pid = run.line();
  run.signal(SIGKILL);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_EQ(out({"where", pid}), bound() + ":/dead\n");
  EXPECT_EQ(number("default:/dead", "numtasks.limit"), 5u);
  EXPECT_EQ(number("default:/dead", "numtasks.current"), 1u);
  EXPECT_EQ(out({"fsck"}), "clean\n"); /* in use: nothing is wrong with it */
  EXPECT_EQ(out({"fsck", "--repair"}), "clean\n");
  EXPECT_TRUE(exists("default:/dead"));

  run.end_input();
  ASSERT_TRUE(eventually([&] { return number("default:/dead", "tasks") == 0; }));
  Output found = ctnbpf({"fsck"});
  EXPECT_EQ(found.code, 1);
  EXPECT_EQ(found.out, "default:/dead was left behind by a `run` that died\n");
  auto problems = nlohmann::json::parse(ctnbpf({"--json", "fsck"}).out);
  EXPECT_EQ(problems["problems"].size(), 1u);
  std::string repaired = out({"fsck", "--repair"});
  EXPECT_NE(repaired.find("removed default:/dead, left behind by a `run` that died\n"),
            std::string::npos)
      << repaired;
  EXPECT_FALSE(exists("default:/dead"));
  EXPECT_EQ(out({"fsck"}), "clean\n");
}

/* The next run sweeps as well. */
TEST_F(RunEnd, NextRunSweepsWhatADeadOneLeft) {
  Piped run({ctnbpf_path(), "run", "--name", "dead", "sh", "-c", "echo ready; read x"});
  EXPECT_EQ(run.line(), "ready");
  run.signal(SIGKILL);
  EXPECT_EQ(run.wait(), 137);
  run.end_input();
  ASSERT_TRUE(eventually([&] { return number("default:/dead", "tasks") == 0; }));
  out({"run", "true"});
  EXPECT_FALSE(exists("default:/dead"));
}

/* Nobody reads what `run` says at the end: it cleans up all the same. */
TEST_F(RunEnd, BrokenPipeDoesNotStopTheCleaningUp) {
  std::array<int, 2> broken = {};
  ASSERT_EQ(::pipe(broken.data()), 0);
  ::close(broken[0]);
  Piped run({ctnbpf_path(), "run", "--name", "pipe", "--stat", "sh", "-c", "exit 3"},
            [&] { ::dup2(broken[1], 2); });
  EXPECT_EQ(run.wait(), 3);
  ::close(broken[1]);
  EXPECT_FALSE(exists("default:/pipe"));
}

TEST_F(RunEnd, ClosedStandardDescriptors) {
  const std::string run = ctnbpf_path() + " run ";
  EXPECT_EQ(shell(run + "--stat true <&- >&- 2>&-").code, 0);
  /* The command finds them closed, too, and none of ours in their place. */
  EXPECT_EQ(shell(run + "sh -c 'ls -l /proc/$$/fd >&2' <&- >&- 2>&1 | wc -l").out, "0\n");
  Output lost = shell(ctnbpf_path() + " tree >&-");
  EXPECT_EQ(lost.code, 1);
  expect_message(lost.err, {"write to standard output: Bad file descriptor"});
  Output full = shell(ctnbpf_path() + " subsystems >/dev/full");
  EXPECT_EQ(full.code, 1);
  expect_message(full.err, {"write to standard output: No space left on device"});
}

TEST_F(RunEnd, NoDescriptorLeaksIntoTheCommand) {
  const char* list = "cd /proc/$$/fd; echo *";
  EXPECT_EQ(out({"run", "sh", "-c", list}), run({"sh", "-c", list}).out);
}

/* Output that is lost is a failure, whatever the command; but a reader that went away is not told of it. */
TEST_F(RunEnd, WhatCannotBeWrittenIsAFailure) {
  create("default:/a");
  std::array<int, 2> broken = {};
  ASSERT_EQ(::pipe2(broken.data(), O_CLOEXEC), 0);
  ::close(broken[0]);
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"subsystems", "--attributes"},
                                             {"tree"},
                                             {"stat"},
                                             {"stat", "--removed"},
                                             {"stat", "-i", "0.1", "-n", "3"},
                                             {"--json", "stat"},
                                             {"stat", "--format", "csv"},
                                             {"stat", "--format", "openmetrics"},
                                             {"get", "default:/a"},
                                             {"hierarchy", "list"},
                                             {"where", std::to_string(::getpid())},
                                             {"--help"}}) {
    const std::string command = line_of(args).replace(0, 6, ctnbpf_path());
    for (const char* lost : {" >/dev/full", " >&-"}) {
      Output said = shell(command + lost);
      EXPECT_EQ(said.code, 1) << command << lost << "\n" << said.err;
      expect_message(said.err, {});
    }
    std::vector<std::string> argv{ctnbpf_path()};
    argv.insert(argv.end(), args.begin(), args.end());
    for (const auto& [handler, code] : {std::pair{SIG_IGN, 1}, std::pair{SIG_DFL, 128 + SIGPIPE}}) {
      Piped unread(argv, [&, handler = handler] {
        ::dup2(1, 2);
        ::dup2(broken[1], 1);
        ::signal(SIGPIPE, handler);
      });
      EXPECT_EQ(unread.line(), "") << command;
      EXPECT_EQ(unread.wait(), code) << command;
    }
  }
  ::close(broken[1]);
}

}  // namespace
}  // namespace ctnbpf::test
