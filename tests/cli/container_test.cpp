/* create, rm, rename. */
#include <set>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class Container : public CliTest {};

TEST_F(Container, CreateTriesEachAddress) {
  Output made = ctnbpf({"create", "default:/a", "default:/no/parent", "default:/b", "default:/a"});
  EXPECT_EQ(made.code, 1);
  EXPECT_EQ(made.err,
            "ctnbpf: cannot create default:/no/parent: default:/no does not exist; -p makes it\n"
            "ctnbpf: default:/a exists already\n");
  EXPECT_TRUE(exists("default:/a"));
  EXPECT_TRUE(exists("default:/b"));
  EXPECT_FALSE(exists("default:/no"));
}

/* One document for all failures, the first of them as `error`. */
TEST_F(Container, SeveralFailuresAreOneJsonDocument) {
  Output made = ctnbpf({"create", "--json", "default:/", "default:/no/parent"});
  EXPECT_EQ(made.code, 1);
  auto parsed = nlohmann::json::parse(made.out);
  EXPECT_EQ(parsed["error"]["code"], "EEXIST");
  EXPECT_EQ(parsed["errors"].size(), 2u);
  EXPECT_EQ(parsed["errors"][1]["code"], "ENOENT");
}

/* -f: addresses from a file or standard input, besides those of the command line. */
TEST_F(Container, AddressesComeFromAFileToo) {
  std::string list = shell("mktemp").out;
  list.pop_back();
  ASSERT_EQ(shell("printf 'default:/b\\n\\ndefault:/b/c' >" + list).code, 0);
  out({"create", "default:/a", "-f", list});
  EXPECT_TRUE(exists("default:/a"));
  EXPECT_TRUE(exists("default:/b/c"));
  std::string rm = " | " + ctnbpf_path() + " rm -f -";
  EXPECT_EQ(shell("printf 'default:/b/c\\ndefault:/b'" + rm).code, 0);
  EXPECT_FALSE(exists("default:/b"));
  EXPECT_TRUE(exists("default:/a"));
  fails({"create", "-f", list + ".none"}, 1, {"read addresses from", "No such file"});
  fails({"create"}, 2, {"ADDR"});
  ::unlink(list.c_str());
}

TEST_F(Container, CreateMakesParentsWithP) {
  out({"create", "-p", "numtasks:/x/y/z"});
  EXPECT_TRUE(exists("default:/x/y/z"));
  fails({"create", "-p", "default:/x/y/z"}, 1, {"default:/x/y/z exists already"});
  fails_json({"create", "-p", "default:/x/y"}, 1, "EEXIST");
}

TEST_F(Container, CreateSetsAttributesOrMakesNothing) {
  out({"create", "default:/a", "-s", "notify_on_release=1", "--set", "numtasks.limit=max"});
  EXPECT_EQ(number("default:/a", "notify_on_release"), 1u);
  fails({"create", "-p", "default:/b/c", "-s", "notify_on_release=1", "-s", "notify_on_release=2"},
        1, {"notify_on_release cannot be '2': use 0 or 1"});
  EXPECT_FALSE(exists("default:/b")); /* the parent it made is gone again, too */
  out({"create", "default:/c", "-s", "numtasks.limit=7", "--best-effort"});
  EXPECT_EQ(number("default:/c", "numtasks.limit"), 7u);
}

TEST_F(Container, NamesAreChecked) {
  std::string longest(255, 'n');
  out({"create", "default:/" + longest, "default:/-dash", "default:/[b]",
       "default:/blank and, comma", "default:/gr\xc3\xbc\xc3\x9f"});
  EXPECT_TRUE(exists("default:/-dash"));
  EXPECT_TRUE(exists("default:/[b]"));
  fails({"create", "default:/" + longest + "n"}, 1, {"256 bytes", "at most 255"});
  fails({"create", "default:/.."}, 1, {"container name '..' is not allowed"});
  fails({"create", "default:/a\nb"}, 1, {"a\\x0ab", "control character"});
  fails({"create",
         "default:/\xc2\x9b"
         "31m"},
        1, {"\\xc2\\x9b", "control character"});
  fails_json({"create", "default:/\x1b[31m"}, 1, "EINVAL");
}

/* Whatever a name is made of, every command takes it and gives it back, and no byte of it reaches the
 * terminal that could do something there. */
TEST_F(Container, NamesAreData) {
  struct Case {
    std::string name, shown;
  };
  const std::string longest = [] {
    std::string name;
    while (name.size() < 254) name += "\xc3\xa9";
    return name + "x";
  }();
  const std::vector<Case> cases = {
      {"--lazy", "--lazy"},
      {" blank ", " blank "},
      {"a,b=\"c\"", "a,b=\"c\""},
      {"*?[x]$(id)", "*?[x]$(id)"},
      {"\xff\xfe", "\\xff\\xfe"},
      {"back\\slash", "back\\\\slash"},
      {longest, longest},
      {"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
      {"...", "..."},
      {"%s%n", "%s%n"},
  };
  for (const auto& [name, shown] : cases) {
    std::string address = "default:/" + name;
    out({"create", address});
    Background task = sleeper(address);
    EXPECT_EQ(out({"where", std::to_string(task.pid())}), bound() + ":/" + shown + "\n");
    EXPECT_NE(out({"tree"}).find("\n└─ " + shown), std::string::npos) << shown;
    EXPECT_NE(out({"stat", address}).find("\ndefault:/" + shown), std::string::npos) << shown;
    EXPECT_EQ(out({"ps", address}), std::to_string(task.pid()) + "\n");
    fails({"create", address}, 1, {"default:/" + shown + " exists already"});
    out({"rename", address, "plain"});
    out({"rename", "default:/plain", "--", name});
    out({"rm", "--lazy", address});
    EXPECT_NE(out({"tree", "--lingering"}).find("default:/" + shown + "   1 live"),
              std::string::npos)
        << shown;
  }
  for (const char* bad :
       {"tab\there", "bell\x07", "esc\x1b[31m", "del\x7f", "c1\xc2\x85", "cr\r"}) {
    fails_json({"create", std::string("default:/") + bad}, 1, "EINVAL");
    fails_json({"rename", "default:/", "--", bad}, 1, "EINVAL");
  }
}

TEST_F(Container, DeepTree) {
  std::string path = "default:";
  for (int i = 0; i < CTN_MAX_DEPTH; i++) path += "/d";
  out({"create", "-p", path});
  EXPECT_TRUE(exists(path));
  Background task = sleeper(path);
  EXPECT_EQ(number("default:/d", "numtasks.current"), 1u); /* charged all the way up */
  EXPECT_EQ(out({"ps", "-r", "default:/d"}), std::to_string(task.pid()) + "\n");
  out({"attach", "default:/", std::to_string(task.pid())});
  fails_json({"create", path + "/d"}, 1, "E2BIG");
  fails({"create", path + "/d"}, 1, {"containers nest at most 256 deep", "CTN_MAX_DEPTH"});
  out({"rm", "-r", "default:/d"});
}

/* Two commands at once: each name is made by one of them, and the other is told so. */
TEST_F(Container, TwoWritersAtOnce) {
  std::string names;
  for (int i = 0; i < 20; i++) names += " default:/n" + std::to_string(i);
  std::string create = ctnbpf_path() + " create" + names;
  Output both = shell(create + " & " + create + "; first=$?; wait $!; echo $((first + $?))");
  std::size_t refused = 0;
  for (std::size_t at = 0; (at = both.err.find(" exists already\n", at)) != std::string::npos; at++)
    refused++;
  EXPECT_EQ(refused, 20u) << both.err;
  EXPECT_EQ(static_cast<std::size_t>(std::count(both.err.begin(), both.err.end(), '\n')), 20u)
      << both.err;
  EXPECT_EQ(json({"hierarchy", "list"})[0]["containers"], 20);
}

TEST_F(Container, RmNamesTheFirstReasonAndItsCount) {
  create("default:/a");
  create("default:/a/b");
  create("default:/a/c");
  fails({"rm", "default:/a"}, 1, {"default:/a has 2 containers below it", "-r"});
  Background one = sleeper("default:/a/b");
  Background two = sleeper("default:/a/b");
  fails({"rm", "default:/a/b"}, 1, {"default:/a/b has 2 live tasks", "--lazy"});
  fails_json({"rm", "-r", "default:/a"}, 1, "EBUSY");
  EXPECT_TRUE(exists("default:/a/b"));
  fails({"rm", "default:/"}, 1, {"is a root and cannot be removed"});
  fails({"rm", "default:/a/b/nosuch"}, 1, {"no container default:/a/b/nosuch"});
  Output both = ctnbpf({"rm", "default:/a/nosuch", "default:/a/c"});
  EXPECT_EQ(both.code, both.err.empty() ? 0 : 1);
}

TEST_F(Container, RmTriesEachAddressAndTakesTrees) {
  create("default:/a");
  create("default:/a/b");
  create("default:/c");
  Output removed = ctnbpf({"rm", "-r", "default:/a", "default:/nosuch", "default:/c"});
  EXPECT_EQ(removed.code, 1);
  expect_message(removed.err, {"no container default:/nosuch", "`ctnbpf tree default:/`"});
  EXPECT_EQ(out({"tree"}), title() + "\n");
}

/* rm -r removes what can go and names each container that is in use, not those above it. */
TEST_F(Container, RmRecursiveLeavesOnlyWhatIsInUse) {
  out({"create", "-p", "default:/a/busy/deep", "default:/a/idle/deep", "default:/a/used",
       "default:/b/idle"});
  Background one = sleeper("default:/a/busy/deep");
  Background two = sleeper("default:/a/used");
  Output removed = ctnbpf({"--json", "rm", "-r", "default:/a", "default:/b"});
  EXPECT_EQ(removed.code, 1);
  EXPECT_EQ(std::count(removed.err.begin(), removed.err.end(), '\n'), 2) << removed.err;
  auto errors = nlohmann::json::parse(removed.out)["errors"];
  ASSERT_EQ(errors.size(), 2u);
  std::set<std::string> named;
  for (const auto& error : errors) {
    EXPECT_EQ(error["code"], "EBUSY");
    auto message = error["message"].get<std::string>();
    named.insert(message.substr(0, message.find(" has 1 live task: ")));
  }
  EXPECT_EQ(named, (std::set<std::string>{"default:/a/busy/deep", "default:/a/used"}));
  EXPECT_TRUE(exists("default:/a/busy/deep") && exists("default:/a/used"));
  EXPECT_FALSE(exists("default:/a/idle") || exists("default:/b"));
  out({"rm", "-r", "--lazy", "default:/a"});
  EXPECT_FALSE(exists("default:/a"));
}

/* Not half of it first. */
TEST_F(Container, RmRecursiveOfARootRemovesNothing) {
  out({"create", "-p", "default:/a/b"});
  fails_json({"rm", "-r", "default:/"}, 1, "EPERM");
  EXPECT_TRUE(exists("default:/a/b"));
}

TEST_F(Container, LazyRemovalLingersUntilTheLastTaskGoes) {
  create("default:/a");
  {
    Background task = sleeper("default:/a");
    limit("default:/a", "9");
    out({"rm", "--lazy", "default:/a"});
    EXPECT_FALSE(exists("default:/a"));
    out({"create", "default:/a"}); /* the name is free at once */
    EXPECT_EQ(out({"tree", "--lingering"}), "default:/a   1 live, 0 dying, 0 references\n");
    auto list = json({"tree", "--lingering"});
    EXPECT_EQ(list[0],
              nlohmann::json(
                  {{"container", "default:/a"}, {"live", 1}, {"dying", 0}, {"references", 0}}));
    EXPECT_EQ(out({"where", std::to_string(task.pid())}), bound() + ":/a (removed)\n");
    EXPECT_EQ(json({"where", std::to_string(task.pid())})[0]["removed"], true);
  }
  EXPECT_TRUE(eventually([] { return ctnbpf({"tree", "--lingering"}).out.empty(); }));
}

/* Zombies hold no container. */
TEST_F(Container, ZombiesDoNotStopRemoval) {
  create("default:/a");
  Background task = start_in("default:/a", [] { return 0; });
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(task.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(out({"ps", "default:/a"}), "");
  fails({"where", std::to_string(task.pid())}, 1, {"has exited"});
  fails_json({"attach", "default:/", std::to_string(task.pid())}, 1, "ESRCH");
  out({"rm", "default:/a"});
}

/* What reads does not take the lock, nor wait for who has it. */
TEST_F(Container, ReadersDoNotWaitForAWriter) {
  create("default:/a");
  Background task = sleeper("default:/a");
  std::string pid = std::to_string(task.pid());
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"tree"},
                                             {"tree", "-t"},
                                             {"tree", "--lingering"},
                                             {"stat"},
                                             {"stat", "--removed"},
                                             {"get", "default:/a"},
                                             {"ps", "default:/a"},
                                             {"where", pid},
                                             {"explain", pid},
                                             {"hierarchy", "list"},
                                             {"subsystems"},
                                             {"events"},
                                             {"debug", "progs"}}) {
    std::vector<std::string> argv{"timeout", "60", ctnbpf_path()};
    argv.insert(argv.end(), args.begin(), args.end());
    EXPECT_EQ(run(argv).code, 0) << line_of(args);
  }
}

TEST_F(Container, RenameStaysBelowItsParent) {
  create("default:/a");
  create("default:/a/x");
  create("default:/a/y");
  out({"rename", "default:/a/x", "z"});
  EXPECT_TRUE(exists("default:/a/z"));
  EXPECT_FALSE(exists("default:/a/x"));
  fails({"rename", "default:/a/z", "y"}, 1, {"default:/a/y exists already"});
  fails_json({"rename", "default:/a/z", "y"}, 1, "EEXIST");
  fails_json({"rename", "default:/a/z", "/b/z"}, 1, "EXDEV");
  fails_json({"rename", "default:/a/z", ".."}, 1, "EINVAL");
  fails_json({"rename", "default:/nosuch", "z"}, 1, "ENOENT");
  fails({"rename", "default:/", "z"}, 1, {"is a root and has no name"});
  out({"rename", "default:/a/z", "--", "-z"});
  out({"rename", "default:/a/-z", "[z]"});
  EXPECT_TRUE(exists("default:/a/[z]"));
}

}  // namespace
}  // namespace ctnbpf::test
