/* Layouts as text: reading, checking, merging, and the normal form. */
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "config/resolve.h"
#include "ctnbpf/abi.h"

namespace ctnbpf::config {
namespace {

struct Read {
  Layout layout;
  std::string errors; /* a line each */
};

Read read(const std::vector<std::pair<std::string, std::string>>& files,
          const Layout& machine = {}) {
  std::vector<Document> documents;
  Read out;
  for (const auto& [name, text] : files) {
    Parsed parsed = parse_toml(text, name);
    for (const Error& error : parsed.errors) out.errors += error.what + "\n";
    documents.push_back(parsed.document);
  }
  Resolved resolved = resolve(documents, machine);
  for (const Error& error : resolved.errors) out.errors += error.what + "\n";
  out.layout = std::move(resolved.layout);
  return out;
}

Read read(const std::string& text) { return read({{"a.toml", text}}); }

std::string normal(const std::string& text) {
  Read result = read(text);
  EXPECT_EQ(result.errors, "");
  return to_toml(result.layout);
}

constexpr const char* kHead =
    "[\"limits:/\"]\nsubsystems = [\"cpuset\", \"numtasks\", \"numfiles\"]\n";

/* `text` below kHead, which has two lines, is refused with a message that begins so and has all of `says`. */
void refused(const std::string& text, const std::string& begin,
             const std::vector<std::string>& says) {
  std::string errors = read(kHead + text).errors;
  EXPECT_TRUE(errors.starts_with(begin)) << text << "\n" << errors;
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
  for (const std::string& one : says)
    EXPECT_NE(errors.find(one), std::string::npos) << one << "\nin: " << errors;
}

TEST(Layout, NormalForm) {
  const std::string text =
      "['limits:/b//c/']\n"
      "numtasks = { forkrate = '100/5', limit = 0x10 }\n"
      "[\"numtasks:/\"]\n"
      "notify_on_release = 1\n"
      "[\"limits:/\"] # the hierarchy, of which another name is used above\n"
      "subsystems = ['numtasks', 'cpuset', 'numtasks']\n"
      "[\"cpuset:/a\"]\n"
      "cpuset.cpus = '0-1,1,0'\n"
      "numtasks.shares = 'min_shares=30'\n"
      "numtasks.limit = 'max'\n";
  const std::string expected =
      "[\"limits:/\"]\n"
      "subsystems = [\"cpuset\", \"numtasks\"]\n"
      "notify_on_release = 1\n"
      "\n"
      "[\"limits:/a\"]\n"
      "cpuset.cpus = \"0-1\"\n"
      "numtasks.limit = \"max\"\n"
      "numtasks.shares = \"min_shares=30,max_shares=dontcare,child_shares_divisor=100\"\n"
      "\n"
      "[\"limits:/b\"]\n"
      "\n"
      "[\"limits:/b/c\"]\n"
      "numtasks.limit = 16\n"
      "numtasks.forkrate = 100\n"
      "numtasks.forkrate_interval = 5\n";
  EXPECT_EQ(normal(text), expected);
  EXPECT_EQ(normal(expected), expected);
}

TEST(Layout, AShorthandIsWhatItSets) {
  EXPECT_EQ(
      normal(std::string(kHead) + "[\"limits:/a\"]\nnumfiles.ceiling = 40\n"),
      "[\"limits:/\"]\nsubsystems = [\"cpuset\", \"numtasks\", \"numfiles\"]\n\n[\"limits:/a\"]\n"
      "numfiles.barrier = 40\nnumfiles.limit = 40\n");
}

TEST(Layout, NamesAreKeptWhateverTheyAre) {
  for (const std::string name : {"a b", "a\\x2db", "a\"b", "it's", "it's \\ \"", "\xc3\xa4", "#",
                                 "%u", "\xff\xfe", "a=b", "\xe2\x80\xae"}) {
    Layout layout;
    layout.hierarchies.push_back({"default", std::vector<std::string>{}, {}, {}});
    container_at(layout.hierarchies[0], {name, "below"}, {});
    Read again = read(to_toml(layout));
    EXPECT_EQ(again.errors, "") << to_toml(layout);
    ASSERT_EQ(again.layout.hierarchies.size(), 1u);
    EXPECT_TRUE(again.layout.hierarchies[0].containers.contains({name, "below"}))
        << to_toml(layout);
  }
}

TEST(Layout, NotToml) {
  EXPECT_TRUE(read("[\"a:/\"\n").errors.starts_with("a.toml:1:7: this is not TOML: "))
      << read("[\"a:/\"\n").errors;
  EXPECT_TRUE(read("x = \xff\n").errors.starts_with("a.toml:1:")) << read("x = \xff\n").errors;
  std::string twice = read("[\"a:/\"]\nsubsystems = []\n[\"a:/\"]\n").errors;
  EXPECT_TRUE(twice.starts_with("a.toml:3:")) << twice;
}

TEST(Layout, UnknownKeys) {
  refused("[\"limits:/a\"]\nnumtasks.limt = 5\n", "a.toml:4:1",
          {"'numtasks.limt'", "did you mean `numtasks.limit`?"});
  refused("subsytems = 1\n", "a.toml:3:1: ", {"did you mean `subsystems`?"});
  refused("owner = 'alice'\n", "a.toml:3:1: ", {"unknown key 'owner'"});
  refused("[\"limits:/a\"]\ncpuacct.usage = 5\n", "a.toml:4:", {"'cpuacct.usage' is read-only"});
  refused("[\"limits:/a\"]\ntasks = 5\n", "a.toml:4:1: ", {"'tasks' is read-only"});
  refused("[\"limits:/a\"]\nmemset.mems = '0'\n",
          "a.toml:4:", {"'memset' is not bound to hierarchy 'limits'"});
  refused("[\"limits:/a\"]\nnumtasks = {}\n", "a.toml:4:1: ", {"'numtasks'", "SUBSYSTEM.NAME"});
  refused("[limits]\n", "a.toml:3:2: ", {"unknown table 'limits'", "[\"default:/build\"]"});
  refused("[\"nosuch:/a\"]\n", "a.toml:3:2: ", {"no hierarchy 'nosuch'", "subsystems = [...]"});
  refused("[\"limit:/a\"]\n", "a.toml:3:2: ", {"did you mean `limits`?"});
  EXPECT_TRUE(read("x = 5\n").errors.starts_with("a.toml:1:1: unknown key 'x'"));
}

TEST(Layout, BadValues) {
  refused("[\"limits:/a\"]\nnumtasks.limit = -5\n",
          "a.toml:4:", {"numtasks.limit cannot be '-5'", "0 to 4194304"});
  refused("[\"limits:/a\"]\nnumtasks.limit = 4194305\n", "a.toml:4:", {"4194304"});
  refused("[\"limits:/a\"]\nnumtasks.limit = true\n",
          "a.toml:4:", {"boolean", "a number or a text"});
  refused("[\"limits:/a\"]\nnumtasks.limit = 1.5\n", "a.toml:4:", {"float"});
  refused("[\"limits:/a\"]\nnumtasks.limit = [1]\n", "a.toml:4:", {"array"});
  refused("[\"limits:/a\"]\nnotify_on_release = 2\n", "a.toml:4:1: ", {"use 0 or 1"});
  refused("[\"limits:/a\"]\ncpuset.cpus = '3-1'\n", "a.toml:4:", {"cpuset.cpus"});
  refused("[\"limits:/a\"]\nnumtasks.forkrate = '5/0'\n", "a.toml:4:", {"5/0"});
  refused("[\"limits:/a\"]\nnumtasks.forkrate_interval = 0\n", "a.toml:4:", {"1 to 86400"});
  refused("[\"limits:/a\"]\nnumtasks.shares = 'most'\n", "a.toml:4:", {"numtasks.shares"});
  refused("numtasks.total_numtasks = 0\n", "a.toml:3:", {"cannot be '0'"});
  refused("cpuset.placement = 'here'\n", "a.toml:3:", {"auto, cgroup or affinity"});
  refused("release_agent = 'x'\n", "a.toml:3:1: ", {"absolute path"});
}

TEST(Layout, SomeBelongToRootsAndSomeDoNot) {
  refused("[\"limits:/a\"]\nrelease_agent = '/x'\n", "a.toml:4:1: ", {"set it on limits:/"});
  refused("[\"limits:/a\"]\nnumfiles.flat = 1\n", "a.toml:4:", {"set it on limits:/"});
  refused("numtasks.limit = 5\n", "a.toml:3:", {"limits:/ is a root"});
  refused("[\"limits:/a\"]\nsubsystems = []\n", "a.toml:4:1: ", {"they stand in [\"limits:/\"]"});
}

TEST(Layout, Subsystems) {
  EXPECT_NE(read("[\"a:/\"]\nsubsystems = ['numtask']\n")
                .errors.find("a.toml:2:1: unknown subsystem 'numtask': did you mean `numtasks`?"),
            std::string::npos);
  EXPECT_NE(read("[\"a:/\"]\nsubsystems = 'numtasks'\n")
                .errors.find("a.toml:2:1: subsystems cannot be of type string"),
            std::string::npos);
  EXPECT_NE(read("[\"a:/\"]\nsubsystems = [5]\n").errors.find("of type integer"),
            std::string::npos);
  std::string both =
      read("[\"a:/\"]\nsubsystems = ['numtasks']\n[\"b:/\"]\nsubsystems = ['numtasks']\n").errors;
  EXPECT_NE(both.find("a.toml:4:1: subsystem 'numtasks' is bound to hierarchy 'a' at a.toml:2:1"),
            std::string::npos)
      << both;
  EXPECT_NE(read("[\"-a:/\"]\nsubsystems = []\n").errors.find("a.toml:1:2: hierarchy name '-a'"),
            std::string::npos);
}

/* What is said twice is the same, or an error that names both. */
TEST(Layout, SeveralFiles) {
  const std::string first = std::string(kHead) + "[\"limits:/a\"]\nnumtasks.limit = 5\n";
  Read same = read(
      {{"1", first}, {"2", "[\"numtasks:/a\"]\nnumtasks.limit = '5'\nnotify_on_release = 1\n"}});
  EXPECT_EQ(same.errors, "");
  EXPECT_NE(to_toml(same.layout).find("notify_on_release = 1\nnumtasks.limit = 5\n"),
            std::string::npos);
  EXPECT_EQ(
      read({{"1", first}, {"2", "[\"limits:/a\"]\nnumtasks.limit = 6\n"}}).errors,
      "2:2:10: numtasks.limit of limits:/a is '6' here and '5' at 1:4:10: take one of the two out\n");
  EXPECT_EQ(
      read({{"1", std::string(kHead) + "[\"limits:/a\"]\nnumfiles.barrier = 5\n"},
            {"2", "[\"limits:/a\"]\nnumfiles.ceiling = 6\n"}})
          .errors,
      "2:2:10: numfiles.barrier of limits:/a is '6' here and '5' at 1:4:10: take one of the two out\n");
  EXPECT_EQ(read({{"1", kHead}, {"2", "[\"limits:/\"]\nsubsystems = []\n"}}).errors,
            "2:2:1: hierarchy 'limits' has other subsystems at 1:2:1: take one of the two out\n");
}

/* Those of the machine are meant where no file makes one. */
TEST(Layout, HierarchiesOfTheMachine) {
  Layout machine;
  machine.hierarchies.push_back({"there", std::vector<std::string>{"numtasks"}, {{{}, {}}}, {}});
  Read result = read({{"1", "[\"numtasks:/a\"]\nnumtasks.limit = 5\n"}}, machine);
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(to_toml(result.layout), "[\"there:/\"]\n\n[\"there:/a\"]\nnumtasks.limit = 5\n");
  EXPECT_NE(read({{"1", "[\"there:/a\"]\nnumfiles.limit = 5\n"}}, machine)
                .errors.find("'numfiles' is not bound to hierarchy 'there'"),
            std::string::npos);
}

TEST(Layout, TooDeep) {
  std::string path;
  for (int i = 0; i <= CTN_MAX_DEPTH; i++) path += "/a";
  refused("[\"limits:" + path + "\"]\n", "a.toml:3:2: ", {"CTN_MAX_DEPTH"});
}

TEST(LayoutRules, NormalForm) {
  const std::string text =
      "[[rules]]\nto = ['limits://a/', \"cpuset:/b c/%u\"]\nuser = '1000-1000'\nprogram = '/usr/bin/make'\n"
      "[[rules]]\ncgroup = '/system.slice//nginx.service/'\nto = ['*:/web/%p%%']\n"
      "[[rules]]\nignore = true\nuser = '@wheel'\n";
  const std::string expected =
      "[[rules]]\nuser = \"1000\"\nprogram = \"/usr/bin/make\"\nto = [\"limits:/a\", \"cpuset:/b c/%u\"]\n\n"
      "[[rules]]\ncgroup = \"/system.slice/nginx.service\"\nto = [\"*:/web/%p%%\"]\n\n"
      "[[rules]]\nuser = \"@wheel\"\nignore = true\n";
  EXPECT_EQ(normal(text), expected);
  EXPECT_EQ(normal(expected), expected);
}

TEST(LayoutRules, Refused) {
  auto errors = [](const std::string& rule) { return read("[[rules]]\n" + rule).errors; };
  for (const auto& [rule, begin, says] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"to = ['a:/b']\n", "a.toml:1:1: ", "fits nobody"},
           {"program = 'x'\nto = ['a:/b']\n", "a.toml:1:1: ", "fits nobody"},
           {"user = 'x'\n", "a.toml:1:1: ", "leads nowhere"},
           {"user = 'x'\nto = []\n", "a.toml:1:1: ", "leads nowhere"},
           {"user = 'x'\nignore = false\n", "a.toml:1:1: ", "leads nowhere"},
           {"user = 'x'\nignore = true\nto = ['a:/b']\n", "a.toml:1:1: ", "take one out"},
           {"user = ''\nto = ['a:/b']\n", "a.toml:2:1: ", "not empty"},
           {"user = 5\nto = ['a:/b']\n", "a.toml:2:1: ", "user cannot be of type integer"},
           {"user = '@'\nto = ['a:/b']\n", "a.toml:1:1: ", "user cannot be '@'"},
           {"user = '2000-1000'\nto = ['a:/b']\n", "a.toml:1:1: ", "backwards"},
           {"user = '1000-'\nto = ['a:/b']\n", "a.toml:1:1: ", "FIRST-LAST"},
           {"user = '4294967295'\nto = ['a:/b']\n", "a.toml:1:1: ", "4294967294"},
           {"user = '*'\nprogram = 'a/b'\nto = ['a:/b']\n",
            "a.toml:1:1: ", "program cannot be 'a/b'"},
           {"cgroup = 'a'\nto = ['a:/b']\n", "a.toml:1:1: ", "cgroup cannot be 'a'"},
           {"cgroup = '/a/../b'\nto = ['a:/b']\n", "a.toml:1:1: ", "cgroup cannot be"},
           {"user = '*'\nto = 'a:/b'\n", "a.toml:3:1: ", "a list of addresses"},
           {"user = '*'\nto = ['b']\n", "a.toml:1:1: ", "HIER:/path"},
           {"user = '*'\nto = ['a:/%x']\n", "a.toml:1:1: ", "u U g G p P"},
           {"user = '*'\nto = ['a:/b%']\n", "a.toml:1:1: ", "u U g G p P"},
           {"user = '*'\nto = ['a:/b', 'a:/c']\n", "a.toml:1:1: ", "another container of 'a'"},
           {"usr = '*'\nto = ['a:/b']\n", "a.toml:2:1: ", "did you mean `user`?"},
       }) {
    std::string said = errors(rule);
    EXPECT_TRUE(said.starts_with(begin)) << rule << said;
    EXPECT_NE(said.find(says), std::string::npos) << rule << said;
  }
  EXPECT_TRUE(read("rules = 5\n").errors.starts_with("a.toml:1:1: rules are an array of tables"));
  EXPECT_TRUE(read("rules = [5]\n").errors.starts_with("a.toml:1:10: a rule is a table"));
}

}  // namespace
}  // namespace ctnbpf::config
