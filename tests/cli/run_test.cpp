/* run: exit codes, options, placement, limits, --stat. */
#include <regex>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class Run : public CliTest {
 protected:
  /* `run ARGS...`: its exit code, stdout and stderr. */
  static Output run(std::vector<std::string> args) {
    args.insert(args.begin(), "run");
    return ctnbpf(args);
  }
  /* Prints where the shell that COMMAND is finds itself, as the first thing it does. */
  static std::vector<std::string> where(std::vector<std::string> options) {
    options.insert(options.end(), {"--", "sh", "-c", "exec \"$0\" where $$", ctnbpf_path()});
    return options;
  }
};

TEST_F(Run, GivesTheCommandsOwnStatus) {
  EXPECT_EQ(run({"true"}).code, 0);
  EXPECT_EQ(run({"sh", "-c", "exit 42"}).code, 42);
  EXPECT_EQ(run({"sh", "-c", "kill -TERM $$"}).code, 128 + SIGTERM);
  EXPECT_EQ(run({"sh", "-c", "kill -KILL $$"}).code, 128 + SIGKILL);
  EXPECT_EQ(run({"sh", "-c", "exit 125"}).err, ""); /* its own 125 is silent */
}

TEST_F(Run, TellsWhyACommandDoesNotStart) {
  fails({"run", "nosuch-command"}, 127, {"'nosuch-command': No such file or directory"});
  fails({"run", "/nosuch/command"}, 127, {"'/nosuch/command'"});
  fails({"run", "/etc/passwd"}, 126, {"'/etc/passwd': Permission denied"});
  fails({"run", "/"}, 126, {"'/': "});
  EXPECT_EQ(out({"tree"}), title() + "\n"); /* nothing was left */
}

TEST_F(Run, OwnFailureIs125AndRunsNothing) {
  fails({"run", "-c", "default:/nosuch", "echo", "ran"}, 125, {"no container default:/nosuch"});
  fails({"run", "-c", "nosuch", "echo", "ran"}, 125, {"not of the form HIER:/path"});
  fails({"run", "--numtasks", "many", "echo", "ran"}, 125, {"numtasks.limit cannot be 'many'"});
  fails({"run", "-s", "nosuch=1", "echo", "ran"}, 125, {"unknown attribute 'nosuch'"});
  fails({"run", "-s", "nosuch.x=1", "echo", "ran"}, 125, {"no hierarchy or subsystem 'nosuch'"});
  fails({"run", "--name", "a/b", "echo", "ran"}, 125, {"container name 'a/b'"});
  fails_json({"run", "-c", "default:/nosuch", "echo", "ran"}, 125, "ENOENT");
  create("default:/taken");
  fails({"run", "--name", "taken", "echo", "ran"}, 125, {"default:/taken exists already"});
  fails({"run", "-p", "-c", "default:/x/y", "-s", "nosuch=1", "echo", "ran"}, 125,
        {"unknown attribute"});
  EXPECT_FALSE(exists("default:/x")); /* what -p made is gone again */
}

TEST_F(Run, UsageErrorsAre2) {
  fails({"run"}, 2, {"COMMAND is required"});
  fails({"run", "--"}, 2, {"COMMAND is required"});
  fails({"run", "--nosuch", "true"}, 2, {"--nosuch"});
  fails({"run", "--name", "x", "-c", "default:/", "true"}, 2, {"--name", "-c"});
}

TEST_F(Run, OptionsAfterTheCommandAreTheCommands) {
  EXPECT_EQ(out({"run", "echo", "-c", "--json", "--", "-h", "[a,b]", "%%"}),
            "-c --json -- -h [a,b] %%\n");
  EXPECT_EQ(out({"run", "--", "echo", "--", "x"}), "-- x\n");
  EXPECT_EQ(out({"run", "--name=n", "-s", "notify_on_release=1", "echo", "--keep"}), "--keep\n");
  EXPECT_FALSE(exists("default:/n"));
  EXPECT_EQ(out({"run", "-pc", "default:/p", "echo", "-p"}), "-p\n");
  EXPECT_EQ(out({"run", "-cdefault:/p", "echo", "run"}), "run\n");
}

TEST_F(Run, IsPlacedBeforeItsFirstInstruction) {
  Output result = run(where({"--name", "first"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, bound() + ":/first\n");
  EXPECT_EQ(result.err, "");
  EXPECT_FALSE(exists("default:/first")); /* gone with the run */
}

TEST_F(Run, KeepsTheContainerWithKeep) {
  EXPECT_EQ(run({"--keep", "--name", "kept", "-s", "notify_on_release=1", "true"}).code, 0);
  EXPECT_EQ(number("default:/kept", "notify_on_release"), 1u);
  EXPECT_EQ(out({"fsck"}), "clean\n");
}

TEST_F(Run, NamedContainersOfSeveralHierarchies) {
  out({"hierarchy", "create", "groups"});
  create("default:/a");
  EXPECT_EQ(run(where({"-c", "numtasks:/a", "-c", "groups:/team/x", "-p"})).out,
            bound() + ":/a\ngroups:/team/x\n");
  EXPECT_TRUE(exists("default:/a")); /* not ours to remove */
  EXPECT_TRUE(exists("groups:/team/x"));
  EXPECT_EQ(run(where({"-c", "groups:/"})).out, bound() + ":/\ngroups:/\n");
  fails({"run", "-p", "-c", "default:/a", "-c", "numtasks:/b", "echo", "ran"}, 125,
        {"default:/a and numtasks:/b are in one hierarchy"});
  EXPECT_FALSE(exists("default:/b"));
  fails({"run", "-c", "groups:/", "-s", "numtasks.limit=max", "echo", "ran"}, 125,
        {"'numtasks.limit=max' speaks of hierarchy 'default'"});
}

TEST_F(Run, LimitRefusesWithEagainInside) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  const char* forks =
      "my @p; for (1..5) { my $p = fork; if (!defined $p) { print $!+0, \" \"; last } "
      "if (!$p) { sleep 1000 } push @p, $p } print scalar @p; kill 9, @p; wait for @p";
  Output result = run({"--numtasks", "3", "--name", "lim", "--stat", "perl", "-e", forks});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "11 2"); /* EAGAIN; two children beside the parent */
  EXPECT_NE(result.err.find("  tasks peak 3 of 3, 1 refused"), std::string::npos) << result.err;
}

TEST_F(Run, StatIsOneLine) {
  Output limited = run({"--best-effort", "--numtasks", "64", "--stat", "sh", "-c", "true; true"});
  EXPECT_TRUE(std::regex_match(
      limited.err,
      std::regex(
          "ctnbpf: /run-[0-9]+  wall [0-9]+\\.[0-9]{2} s  cpu [0-9]+\\.[0-9]{2} s "
          "\\(user [0-9]+\\.[0-9] sys [0-9]+\\.[0-9]\\)  tasks peak [1-3] of 64, 0 refused(  files peak [0-9]+, 0 refused)?\n")))
      << limited.err;
  Output plain = run({"--name", "plain", "--stat", "sh", "-c", "echo out; exit 3"});
  EXPECT_EQ(plain.code, 3);
  EXPECT_EQ(plain.out, "out\n");
  EXPECT_TRUE(plain.err.starts_with("ctnbpf: /plain  wall ")) << plain.err;
  EXPECT_NE(plain.err.find(")  tasks peak 1, 0 refused"), std::string::npos) << plain.err;
}

TEST_F(Run, TwoAtOnce) {
  std::vector<std::string> command{ctnbpf_path(),
                                   "run",
                                   "--best-effort",
                                   "--numtasks",
                                   "7",
                                   "sh",
                                   "-c",
                                   "echo ready; read x; exit 4"};
  Piped one(command);
  Piped two(command);
  EXPECT_EQ(one.line(), "ready");
  EXPECT_EQ(two.line(), "ready");
  for (const Piped* each : {&one, &two})
    EXPECT_EQ(number("default:/run-" + std::to_string(each->pid()), "numtasks.current"), 1u);
  one.end_input();
  two.end_input();
  EXPECT_EQ(one.wait(), 4);
  EXPECT_EQ(two.wait(), 4);
  EXPECT_EQ(out({"tree"}), title() + "\n");
}

/* Somebody has the name that it would make up: by hand, or a run that was killed and has tasks left. */
TEST_F(Run, TheNameItMakesUpIsFree) {
  auto runs_in = [&](const std::vector<const char*>& taken) {
    Piped run({ctnbpf_path(), "run", "sh", "-c", "exec \"$0\" where $$", ctnbpf_path()}, [&] {
      for (const char* suffix : taken)
        ctnbpf({"create", "default:/run-" + std::to_string(::getpid()) + suffix});
    });
    std::string where = run.line();
    std::string own = bound() + ":/run-" + std::to_string(run.pid());
    EXPECT_TRUE(where.starts_with(own)) << where;
    EXPECT_EQ(run.wait(), 0);
    return where.substr(std::min(own.size(), where.size()));
  };
  EXPECT_EQ(runs_in({}), "");
  EXPECT_EQ(runs_in({""}), "-2");
  EXPECT_EQ(runs_in({"", "-2", "-4"}), "-3");
}

/* A nested run counts in its own container only: containers of one hierarchy do not nest by runs. */
TEST_F(Run, InsideAnotherRun) {
  EXPECT_EQ(out({"run", "--name", "outer", ctnbpf_path(), "run", "--name", "inner", "sh", "-c",
                 "exec \"$0\" where $$", ctnbpf_path()}),
            bound() + ":/inner\n");
}

}  // namespace
}  // namespace ctnbpf::test
