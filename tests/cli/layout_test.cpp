/* apply, save, import: over the real binary. */
#include <filesystem>
#include <fstream>
#include <random>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class LayoutCli : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    char name[] = "/tmp/ctnbpf-layout-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    std::filesystem::remove_all(dir_);
    CliTest::TearDown();
  }

  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ + "/" + name) << text;
    return dir_ + "/" + name;
  }
  static std::string saved() { return out({"save"}); }
  /* `text` through a pipe. */
  Output apply(const std::string& text, const std::string& options = "") const {
    return shell(ctnbpf_path() + " apply " + options + " - <" + file("stdin", text));
  }
  void expect_applied(const std::string& text, const std::string& options = "") const {
    Output result = apply(text, options);
    EXPECT_EQ(result.code, 0) << text << result.err;
    EXPECT_EQ(result.out, "");
  }
  /* Nothing is printed on stdout, one line on stderr, and nothing has changed. */
  void refused(const std::string& text, const std::vector<std::string>& says,
               const std::string& options = "") const {
    std::string before = saved();
    Output result = apply(text, options);
    EXPECT_EQ(result.code, 1) << text;
    EXPECT_EQ(result.out, "");
    expect_message(result.err, says);
    EXPECT_EQ(saved(), before) << text;
  }

  std::string dir_;
};

TEST_F(LayoutCli, WhatIsSavedIsWhatThereIs) {
  EXPECT_TRUE(saved().starts_with("[\"default:/\"]\nsubsystems = [\"cpuset\", ")) << saved();
  out({"hierarchy", "create", "groups"});
  out({"create", "-p", "groups:/a b/c", "default:/w"});
  out({"set", "--best-effort", "default:/w", "numtasks.limit=5", "numtasks.forkrate=9/3",
       "cpuset.cpus=0"});
  out({"set", "groups:/", "notify_on_release=1"});
  std::string text = saved();
  EXPECT_NE(
      text.find(
          "\n\n[\"default:/w\"]\ncpuset.cpus = \"0\"\nnumtasks.limit = 5\nnumtasks.forkrate = 9\n"
          "numtasks.forkrate_interval = 3\n\n[\"groups:/\"]\nsubsystems = []\nnotify_on_release = 1\n\n"
          "[\"groups:/a b\"]\nnotify_on_release = 0\n\n[\"groups:/a b/c\"]\n"),
      std::string::npos)
      << text;
  EXPECT_EQ(out({"save", "groups"}), text.substr(text.find("[\"groups:/\"]")));
  EXPECT_EQ(out({"save", "numtasks", "groups"}), text);
  fails({"save", "group"}, 1, {"did you mean `groups`?"});
  auto parsed = json({"save", "default"});
  EXPECT_EQ(parsed[0]["containers"][1]["numtasks.limit"], 5);
  EXPECT_EQ(parsed[0]["containers"][1]["cpuset.cpus"], "0");
  Output same = shell(ctnbpf_path() + " save | " + ctnbpf_path() + " apply --diff --prune -");
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_EQ(same.out, "");
}

TEST_F(LayoutCli, TransientContainersAreNotSaved) {
  std::string before = saved();
  Piped command({ctnbpf_path(), "run", "--", "cat"});
  command.type("x\n");
  EXPECT_EQ(command.line(), "x");
  EXPECT_EQ(saved(), before);
  EXPECT_EQ(apply("[\"default:/\"]\n", "--diff --prune").out, "");
  command.end_input();
  EXPECT_EQ(command.wait(), 0);
}

TEST_F(LayoutCli, ApplyMakesItSoOnceAndMovesNobody) {
  create("default:/w");
  Background task = sleeper("default:/w");
  const std::string text =
      "[\"groups:/\"]\nsubsystems = []\n[\"groups:/x/y\"]\nnotify_on_release = 1\n"
      "[\"numtasks:/w\"]\nnumtasks.limit = 1\ncpuset.cpus = '0'\n[\"default:/w/new\"]\n";
  std::string one = file("1.toml", text);
  std::string two = file("2.toml", "[\"groups:/z\"]\n[\"groups:/x/y\"]\nnotify_on_release = '1'\n");
  EXPECT_EQ(
      out({"apply", "--best-effort", "--diff", one, two}),
      "+ groups:/ subsystems = none\n"
      "+ groups:/x\n+ groups:/x/y\n+ groups:/x/y notify_on_release = 1\n+ groups:/z\n"
      "+ default:/w/new\n~ default:/w cpuset.cpus = 0 (was \"\")\n~ default:/w numtasks.limit = 1 (was max)\n");
  auto steps = json({"apply", "--best-effort", "--diff", one});
  EXPECT_EQ(steps[0]["change"], "make-hierarchy");
  EXPECT_EQ(steps.back()["attribute"], "numtasks.limit");
  EXPECT_EQ(steps.back()["was"], "max");
  std::string before = saved();
  EXPECT_EQ(out({"apply", "--best-effort", "--check", one, two}), "");
  EXPECT_EQ(saved(), before);
  EXPECT_EQ(out({"apply", "--best-effort", one, two}), "");
  EXPECT_EQ(out({"get", "-n", "default:/w", "numtasks.limit"}), "1\n");
  EXPECT_EQ(out({"get", "-n", "groups:/x/y", "notify_on_release"}), "1\n");
  EXPECT_TRUE(exists("default:/w/new"));
  EXPECT_EQ(out({"apply", "--best-effort", "--diff", one, two}), "");
  std::string after = saved();
  EXPECT_EQ(out({"apply", "--best-effort", one, two}), "");
  EXPECT_EQ(saved(), after);
  EXPECT_EQ(out({"ps", "default:/w"}), std::to_string(task.pid()) + "\n");
}

TEST_F(LayoutCli, PruneLeavesWhatIsInUse) {
  create("default:/empty");
  create("default:/used");
  create("default:/used/by");
  Background task = sleeper("default:/used/by");
  EXPECT_EQ(apply("[\"default:/kept\"]\n", "--diff --prune").out,
            "+ default:/kept\n- default:/empty\n");
  Output result = apply("[\"default:/kept\"]\n", "--prune");
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.err.find("ctnbpf: not removed: default:/used/by has 1 live task"),
            std::string::npos)
      << result.err;
  EXPECT_FALSE(exists("default:/empty"));
  EXPECT_TRUE(exists("default:/used/by"));
  EXPECT_TRUE(exists("default:/kept"));
}

/* The machine refuses the last of several: an owner above has fewer CPUs. */
TEST_F(LayoutCli, AllOrNothing) {
  const std::string place = "[\"default:/a\"]\ncpuset.cpus = '0'\n";
  expect_applied(place);
  refused(
      "[\"more:/\"]\nsubsystems = []\n[\"more:/x\"]\n[\"default:/new/b\"]\nnotify_on_release = 1\n"
      "[\"default:/a\"]\nnotify_on_release = 1\n[\"default:/a/b\"]\ncpuset.cpus = '4000'\n",
      {"standard input:9:8: ", "4000"}, "--best-effort");
  refused("[\"default:/new\"]\nnumtasks.limt = 5\n",
          {"standard input:2:", "did you mean `numtasks.limit`?"});
  refused("[\"default:/new\"\n", {"standard input:1:", "not TOML"});
  refused("[\"default:/new\"]\n[[rules]]\nuser = 'root'\nto = ['default:/new']\n",
          {"standard input:2:1: ", "cannot put rules into the kernel yet"});
  refused("[\"default:/new\"]\n[[rules]]\nuser = 'root'\nto = ['default:/new']\n",
          {"cannot put rules into the kernel yet"}, "--check");
  refused("[\"other:/\"]\nsubsystems = ['numtasks']\n",
          {"standard input:2:1: ", "`ctnbpf hierarchy destroy default` first"});
  refused("[\"other:/\"]\nsubsystems = ['numtasks']\n", {"bound to hierarchy 'default'"},
          "--check");
  fails({"apply", dir_ + "/nosuch"}, 1, {"read '" + dir_ + "/nosuch'"});
  fails({"apply", dir_}, 1, {"directory"});
  fails({"apply", "-", "-"}, 1, {"more than once"});
  fails({"apply"}, 2, {"FILE", "required"});
  fails_json({"apply", file("bad", "x = 1\n")}, 1, "EINVAL");
  Output several = apply("[\"default:/a\"]\nx = 1\ny = 2\n");
  EXPECT_EQ(std::count(several.err.begin(), several.err.end(), '\n'), 2) << several.err;
}

/* What this kernel cannot hold is refused before anything is done. */
TEST_F(LayoutCli, LimitsThatCannotBeEnforced) {
  if (level() >= CTN_LEVEL_FALLBACK) return; /* they can: the next test */
  std::string before = saved();
  Output result = apply("[\"default:/a\"]\nnumtasks.limit = 5\n");
  EXPECT_EQ(result.code, 3);
  expect_message(result.err,
                 {"standard input:2:10: numtasks.limit cannot be enforced", "--best-effort"});
  EXPECT_EQ(saved(), before);
}

TEST_F(LayoutCli, ALimitThatIsAppliedHolds) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped()) return;
  expect_applied("[\"default:/a\"]\nnumtasks.limit = 1\n");
  Output result = ctnbpf({"run", "-c", "default:/a", "--", "sh", "-c", "(:) || exit 3"});
  EXPECT_NE(result.code, 0);
  EXPECT_NE(out({"get", "-n", "default:/a", "numtasks.failcnt"}), "0\n");
}

/* Both move to another CPU at once, which neither can do first. */
TEST_F(LayoutCli, SetsThatMoveTogether) {
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) CTN_SKIP("one CPU alone");
  auto layout = [](const std::string& cpu) {
    return "[\"default:/a\"]\ncpuset.cpus = '" + cpu + "'\n[\"default:/a/b\"]\ncpuset.cpus = '" +
           cpu + "'\n";
  };
  expect_applied(layout("0"));
  expect_applied(layout("1"));
  EXPECT_EQ(out({"get", "-n", "default:/a/b", "cpuset.cpus"}), "1\n");
  EXPECT_EQ(apply(layout("1"), "--diff").out, "");
}

TEST_F(LayoutCli, WhereNothingIsUp) {
  out({"down", "--force"});
  EXPECT_EQ(apply("[\"nosuch:/a\"]\n").code, 1);
  fails({"save"}, 1, {"`ctnbpf up`"}); /* nor is it now */
  expect_applied("[\"default:/a\"]\n");
  EXPECT_TRUE(exists("default:/a"));
  out({"down", "--force"});
  EXPECT_EQ(ctnbpf({"up", "--bare"}).code, 0);
  EXPECT_EQ(saved(), "");
  expect_applied("[\"only:/\"]\nsubsystems = ['numtasks']\n");
  EXPECT_EQ(saved(), "[\"only:/\"]\nsubsystems = [\"numtasks\"]\n");
}

TEST_F(LayoutCli, MakesTheDefaultHierarchyWhereThereIsNone) {
  out({"hierarchy", "destroy", "default"});
  expect_applied("[\"default:/a\"]\n");
  EXPECT_TRUE(exists("default:/a"));
  refused("[\"nosuch:/a\"]\n", {"no hierarchy 'nosuch'", "subsystems = [...]"});
}

TEST_F(LayoutCli, ImportNeedsNoPrivilege) {
  std::filesystem::permissions(dir_, std::filesystem::perms::all);
  std::string rules = file("cgrules.conf", "root pids,memory a/%u\n");
  auto as_nobody = [&](const std::vector<std::string>& words) {
    std::vector<std::string> argv{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                  ctnbpf_path()};
    argv.insert(argv.end(), words.begin(), words.end());
    return run(argv);
  };
  Output result = as_nobody({"import", "cgrules", rules});
  EXPECT_EQ(result.out, "[[rules]]\nuser = \"root\"\nto = [\"numtasks:/a/%u\"]\n");
  EXPECT_EQ(result.err,
            "ctnbpf: " + rules + ":1: dropped: controller 'memory' has no counterpart\n");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(as_nobody({"import", "cgrules", rules, "--lenient"}).code, 0);
  EXPECT_EQ(as_nobody({"apply", rules}).code, 1);
  fails({"import", "cgrules", file("bad", "root pids\n")}, 1, {":1: a rule is"});
  fails({"import", "cgrule", rules}, 2, {"did you mean `cgrules`?"});
  fails({"import"}, 2, {"import: "});
  /* What is imported can be applied. */
  std::string groups = file("cgconfig.conf", "group web/static { pids { pids.max = 40; } }\n");
  Output both = shell(ctnbpf_path() + " import cgconfig " + groups + " | " + ctnbpf_path() +
                      " apply --best-effort -");
  EXPECT_EQ(both.code, 0) << both.err;
  EXPECT_EQ(out({"get", "-n", "default:/web/static", "numtasks.limit"}), "40\n");
}

/* Whatever was done to a machine: what is saved, applied where nothing is, is saved there too. */
TEST_F(LayoutCli, RandomCommandsAreSavedAndAppliedAgain) {
  constexpr int kSequences = 24;
  constexpr int kCommands = 14;
  auto destroy_all = [&] {
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (tree::hierarchy_active(state(), h))
        out({"hierarchy", "destroy", "-r", tree::hierarchy_name(state(), h)});
  };
  const std::vector<std::string> settings = {
      "numtasks.limit=7",
      "numtasks.limit=max",
      "numtasks.forkrate=5/9",
      "numtasks.shares=min_shares=20",
      "numtasks.shares=max_shares=80,child_shares_divisor=120",
      "cpuset.cpus=0",
      "cpuset.cpus=",
      "memset.mems=0",
      "memset.memory_migrate=1",
      "cpuset.cpu_exclusive=1",
      "notify_on_release=1",
      "notify_on_release=0",
      "numfiles.ceiling=90",
      "numfiles.limit=95",
      "numtasks.total_numtasks=500",
      "release_agent=/bin/true",
      "cpuset.placement=affinity",
      "cpuset.strict=1",
      "numfiles.flat=1"};
  std::size_t said = 0;
  for (int seed = 0; seed < kSequences && !HasFailure(); seed++) {
    std::mt19937 random(static_cast<unsigned>(seed));
    auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    destroy_all();
    (void)ctnbpf({"hierarchy", "create", "one", "-o",
                  below(2) == 0 ? "numtasks,cpuset" : "numtasks,memset"});
    (void)ctnbpf(
        {"hierarchy", "create", "two", "-o", below(2) == 0 ? "numfiles,cpuacct" : "cpuacct"});
    std::vector<std::string> there = {"one:/", "two:/"};
    for (int i = 0; i < kCommands; i++) {
      std::string at = there[below(there.size())];
      switch (below(4)) {
        case 0: {
          std::string made = at + (at.ends_with("/") ? "" : "/") +
                             std::vector<std::string>{"a", "b c", "d\\x2d"}[below(3)];
          if (ctnbpf({"create", made}).code == 0) there.push_back(made);
          break;
        }
        case 1:
          if (below(3) == 0) (void)ctnbpf({"rm", at});
          break;
        default: (void)ctnbpf({"set", "--best-effort", at, settings[below(settings.size())]});
      }
    }
    std::string text = saved();
    said += text.size();
    destroy_all();
    expect_applied(text, "--best-effort");
    EXPECT_EQ(saved(), text) << "seed " << seed;
  }
  EXPECT_GT(said / kSequences, 120u) << "the sequences make next to nothing";
}

}  // namespace
}  // namespace ctnbpf::test
