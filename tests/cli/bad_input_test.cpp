/* Bad input and bad surroundings: each failure is one line, says what to do, and changes nothing. */
#include <tuple>

#include <set>

#include "cli_test.h"
#include "kernel/mapping.h"

namespace ctnbpf::test {
namespace {

class BadInput : public CliTest {
 protected:
  /* Every command there is, from the help. */
  static std::vector<std::string> commands() {
    std::string help = out({"--help"});
    std::vector<std::string> names;
    for (std::size_t at = help.find("\n  ", help.find("Subcommands:"));
         help.compare(at, 3, "\n  ") == 0; at = help.find('\n', at + 1))
      names.push_back(help.substr(at + 3, help.find(' ', at + 3) - at - 3));
    EXPECT_GE(names.size(), 23u) << help;
    return names;
  }
  /* `ARGS...` in a shell, in which ctnbpf is the tested one. */
  static std::string command(const std::string& args) { return ctnbpf_path() + " " + args; }
  static Output as_nobody(const std::vector<std::string>& args) {
    std::vector<std::string> argv{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                  ctnbpf_path()};
    argv.insert(argv.end(), args.begin(), args.end());
    return run(argv);
  }
};

TEST_F(BadInput, UsageErrors) {
  fails({}, 2, {"no command given: `ctnbpf --help` lists them"});
  fails({"--nosuch"}, 2, {"unknown option '--nosuch': `ctnbpf --help` lists them"});
  fails({"tree", "--nosuch"}, 2, {"tree: unknown option '--nosuch': see `ctnbpf tree --help`"});
  fails({"tree", "default:/", "default:/a"}, 2, {"tree: unexpected argument 'default:/a'"});
  fails({"nosuch"}, 2, {"unknown command 'nosuch'"});
  fails({"\x1b[31mred\nline"}, 2, {"unknown command '\\x1b[31mred\\x0aline'"});
  fails({"--nosuch", "tree"}, 2, {"--nosuch", "`ctnbpf tree --help`"});
  fails({"tree", "--nosuch"}, 2, {"tree: ", "--nosuch", "`ctnbpf tree --help`"});
  fails({"tree", "default:/", "extra\x07"}, 2, {"extra\\x07"});
  fails({"hierarchy"}, 2, {"`ctnbpf hierarchy --help`"});
  fails({"hierarchy", "nosuch"}, 2,
        {"hierarchy: unknown command 'nosuch'", "`ctnbpf hierarchy --help`"});
  fails({"hierarchy", "create"}, 2, {"hierarchy create: NAME", "`ctnbpf hierarchy create --help`"});
  fails({"debug", "nosuch"}, 2, {"debug: unknown command 'nosuch'"});
  fails({"help", "nosuch"}, 2, {"unknown command 'nosuch'"});
  fails({"nosuch", "--help"}, 2, {"unknown command 'nosuch'"});
  fails({"--bpffs", "", "tree"}, 2, {"--bpffs", "a BPF file system"});
  fails({"stat", "--removed", "--format", "openmetrics"}, 2, {"--removed"});
  fails({"stat", "-i", "x"}, 2,
        {"--interval", "'x' is not a number of seconds from 0.01 to 86400"});
  fails({"run"}, 2, {"COMMAND"});
  /* A variable that is not set is not taken for an option that is not given. */
  fails({"run", "--numtasks", "", "echo", "ran"}, 125, {"numtasks.limit cannot be ''"});
  fails({"run", "--name", "", "echo", "ran"}, 125, {"container name '' is empty"});
  fails({"create"}, 2, {"ADDR", "required"});
  fails({"set", "default:/"}, 2, {"required"});
  fails({"attach", "default:/"}, 2, {"PID", "required"});
  fails({"rename", "default:/a"}, 2, {"NAME", "required"});
  fails_json({"tree", "--nosuch"}, 2, "EINVAL");
  fails_json({"nosuch"}, 2, "EINVAL");
}

/* The nearest word there is, where it is near. */
TEST_F(BadInput, AMistypedWordIsAnsweredWithTheNearestOne) {
  create("default:/build");
  create("default:/build/nightly");
  for (const auto& [args, code, says] :
       std::vector<std::tuple<std::vector<std::string>, int, std::string>>{
           {{"crate", "default:/a"}, 2, "unknown command 'crate': did you mean `create`? "},
           {{"hierachy", "list"}, 2, "did you mean `hierarchy`?"},
           {{"hierarchy", "lsit"},
            2,
            "hierarchy: unknown command 'lsit': did you mean `list`? see "},
           {{"help", "explian"}, 2, "did you mean `explain`?"},
           {{"stat", "--recusive"},
            2,
            "unknown option '--recusive': did you mean `--recursive`? see "},
           {{"stat", "--jsn"}, 2, "did you mean `--json`?"},
           {{"hierarchy", "create", "x", "--palcement=auto"}, 2, "did you mean `--placement`?"},
           {{"get", "default:/build", "numtasks.limt"}, 1, "did you mean `numtasks.limit`?"},
           {{"get", "default:/build", "limit"}, 1, "did you mean `numtasks.limit`?"},
           {{"set", "default:/build", "notify_on_relase=1"},
            1,
            "did you mean `notify_on_release`?"},
           {{"get", "defualt:/build"},
            1,
            "no hierarchy or subsystem 'defualt': did you mean `default`?"},
           {{"get", "numtask:/build"}, 1, "did you mean `numtasks`?"},
           {{"hierarchy", "create", "x", "-o", "numfile"}, 1, "did you mean `numfiles`?"},
           {{"stat", "-s", "task"}, 1, "no column 'task': did you mean `tasks`?"},
           {{"get", "default:/biuld"},
            1,
            "no container default:/biuld: did you mean `default:/build`?"},
           {{"get", "default:/build/nightli/x"}, 1, "did you mean `default:/build/nightly`?"},
           {{"kill", "-s", "TREM", "default:/build"}, 2, "no signal 'TREM': did you mean `TERM`?"},
       })
    fails(args, code, {says});
}

TEST_F(BadInput, Addresses) {
  for (const char* bad : {"a", "default", "default:", "default:a", "/a", ":/a"})
    fails({"get", bad}, 1, {std::string("address '") + bad + "' is not of the form HIER:/path"});
  fails_json({"get", "default:a"}, 1, "EINVAL");
}

TEST_F(BadInput, AddressesSayWhatIsMissing) {
  fails({"get", "nosuch:/a"}, 1, {"no hierarchy or subsystem 'nosuch'", "`ctnbpf hierarchy list`"});
  fails({"get", "\x1b]0;x:/a"}, 1, {"'\\x1b]0;x'"});
  fails({"get", "default:/a/b"}, 1,
        {"no container default:/a: "}); /* the first part that is missing */
  fails({"get", "default:/../a"}, 1, {"address 'default:/../a'", "'..'"});
}

/* Doubled and trailing slashes are no names. */
TEST_F(BadInput, SlashesAreForgiven) {
  out({"create", "default://a//b/", "-p"});
  EXPECT_EQ(out({"get", "-n", "default:/a/b/", "tasks"}), "0\n");
}

TEST_F(BadInput, UnprivilegedIsToldAtOnce) {
  const std::set<std::string> kByFiles = {"tree", "stat", "create", "rm",    "rename", "get",
                                          "set",  "ps",   "attach", "where", "explain"};
  create("default:/a");
  std::vector<std::vector<std::string>> all = {
      {"get", "default:/"},          {"set", "default:/a", "notify_on_release=1"},
      {"rm", "default:/a"},          {"create", "default:/b"},
      {"rename", "default:/a", "b"}, {"down", "--force"},
      {"attach", "default:/a", "1"}, {"hierarchy", "create", "x"},
      {"kill", "default:/a"}};
  for (const std::string& name : commands())
    if (name != "run" && name != "exec" && name != "doctor" && name != "import")
      all.push_back({name}); /* at once: before it asks for arguments */
  for (const std::vector<std::string>& args : all) {
    Output refused = as_nobody(args);
    EXPECT_EQ(refused.code, 1) << args[0];
    EXPECT_EQ(refused.out, "") << args[0];
    std::string says =
        "ctnbpf: `ctnbpf " + args[0] + "` needs root: run `sudo ctnbpf " + args[0] + " ...`";
    /* What a user can do through a mount says that too: nothing is mounted here. */
    bool by_files = refused.err.find("have root run `ctnbpf mount DIR`\n") != std::string::npos;
    EXPECT_EQ(by_files, kByFiles.contains(args[0])) << refused.err;
    EXPECT_TRUE(refused.err.starts_with(says)) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
  EXPECT_TRUE(exists("default:/a"));
  EXPECT_FALSE(exists("default:/b"));

  EXPECT_EQ(as_nobody({"exec", "default:/a", "--", "echo", "ran"}).code, 125);
  Output run = as_nobody({"run", "echo", "ran"});
  EXPECT_EQ(run.code, 125);
  EXPECT_EQ(run.out, "");
  expect_message(run.err, {"`ctnbpf run` needs root"});
  Output doctor = as_nobody({"doctor"});
  EXPECT_EQ(doctor.code, 2);
  expect_message(doctor.err, {"`ctnbpf doctor` needs root"});
  Output machine = as_nobody({"tree", "--json"});
  EXPECT_EQ(nlohmann::json::parse(machine.out)["error"]["code"], "EPERM");
}

/* Help needs neither root nor anything loaded. */
TEST_F(BadInput, HelpIsForEveryone) {
  Output top = as_nobody({"--help"});
  EXPECT_EQ(top.code, 0);
  EXPECT_EQ(top.err, "");
  EXPECT_NE(top.out.find("usage: ctnbpf [OPTION...] COMMAND"), std::string::npos) << top.out;
  EXPECT_EQ(as_nobody({"help"}).out, top.out);
  Output run = as_nobody({"run", "--help"});
  EXPECT_NE(run.out.find("usage: ctnbpf run [OPTION...] [--] COMMAND [ARG...]"), std::string::npos)
      << run.out;
  EXPECT_EQ(as_nobody({"help", "run"}).out, run.out);
  EXPECT_EQ(as_nobody({"--version"}).out.find("ctnbpf "), 0u);
  std::vector<std::vector<std::string>> verbs = {
      {"hierarchy", "create"}, {"hierarchy", "list"}, {"hierarchy", "destroy"}, {"debug", "progs"}};
  for (const std::string& name : commands())
    if (name != "run")
      verbs.push_back({name}); /* whose options tell of all subsystems, at length */
  for (std::vector<std::string> verb : verbs) {
    verb.emplace_back("--help");
    Output help = ctnbpf(verb);
    EXPECT_EQ(help.code, 0) << line_of(verb);
    EXPECT_NE(help.out.find("usage: ctnbpf " + verb[0]), std::string::npos) << help.out;
    for (std::size_t at = 0, end = 0; at < help.out.size(); at = end + 1) {
      end = std::min(help.out.find('\n', at), help.out.size());
      EXPECT_LE(end - at, 96u) << help.out.substr(at, end - at);
    }
  }
}

/* A kernel without BTF, played by an empty directory over it. */
TEST_F(BadInput, NoBtf) {
  auto without_btf = [](const std::string& args) {
    return shell("unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && " +
                 command("--bpffs /sys/fs/bpf/ctnbpf-nobtf " + args) + "'");
  };
  Output up = without_btf("up");
  EXPECT_EQ(up.code, 3);
  expect_message(up.err, {"no BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y"});
  Output doctor = without_btf("doctor");
  EXPECT_EQ(doctor.code, 3);
  expect_message(doctor.err, {"no BTF"});
  Output run = without_btf("run echo ran");
  EXPECT_EQ(run.code, 125);
  EXPECT_EQ(run.out, "");
  expect_message(run.err, {"no BTF"});
  EXPECT_NE(::access("/sys/fs/bpf/ctnbpf-nobtf", F_OK), 0);
}

TEST_F(BadInput, PinsElsewhere) {
  fails({"--bpffs", "/tmp/pins", "up"}, 1, {"'/tmp' is not on a BPF file system", "mount"});
  fails({"--bpffs=/nosuch/pins", "up"}, 1, {"'/nosuch'"});
  fails({"--bpffs", "/sys/fs/bpf/nosuch", "tree"}, 1, {"nothing is pinned in /sys/fs/bpf/nosuch"});
}

/* Pins of another version: every command says so, and changes nothing. */
TEST_F(BadInput, OtherLayout) {
  create("default:/a");
  auto set_layout = [&](std::uint32_t layout) {
    auto core = Mapping::open(pins(), "core", sizeof(ctn_core), 1, true);
    ASSERT_TRUE(core.has_value()) << core.error().what;
    core->as<ctn_core>()[0].layout = layout;
  };
  set_layout(99);
  std::vector<std::string> says = {"layout 99",
                                   "this ctnbpf knows layout " + std::to_string(CTN_LAYOUT),
                                   "nothing was changed", "`ctnbpf down --force`"};
  for (const std::vector<std::string>& one :
       std::vector<std::vector<std::string>>{{"up"},
                                             {"down"},
                                             {"tree"},
                                             {"stat"},
                                             {"get", "default:/a"},
                                             {"set", "default:/a", "notify_on_release=1"},
                                             {"create", "default:/b"},
                                             {"rm", "default:/a"},
                                             {"rename", "default:/a", "c"},
                                             {"ps", "default:/a"},
                                             {"where", "1"},
                                             {"attach", "default:/a", "1"},
                                             {"hierarchy", "list"},
                                             {"hierarchy", "create", "x"},
                                             {"hierarchy", "destroy", "default", "-r"},
                                             {"subsystems"},
                                             {"fsck"},
                                             {"fsck", "--repair"},
                                             {"kill", "default:/a"},
                                             {"explain", "1"},
                                             {"files", "default:/a"},
                                             {"events"},
                                             {"events", "-f"},
                                             {"agentd"},
                                             {"debug", "progs"},
                                             {"stat", "--removed"},
                                             {"tree", "--lingering"}})
    fails(one, 1, says);
  fails({"run", "echo", "ran"}, 125, says);
  fails_json({"tree"}, 1, "EPROTO");
  expect_message(ctnbpf({"doctor"}).err, says);

  set_layout(CTN_LAYOUT);
  EXPECT_EQ(out({"get", "-r", "default:/", "notify_on_release"}),
            "default:/\n  notify_on_release: 0\ndefault:/a\n  notify_on_release: 0\n");
  set_layout(99);
  EXPECT_EQ(ctnbpf({"down", "--force"}).code, 0);
  EXPECT_FALSE(pins().exist());
}

}  // namespace
}  // namespace ctnbpf::test
