/* Completions: what `ctnbpf complete` says, and what real shells make of it. */
#include <sstream>

#include "cli_test.h"
#include "terminal.h"

namespace ctnbpf::test {
namespace {

class Complete : public CliTest {
 protected:
  /* The candidates, without what is said of them. */
  static std::vector<std::string> words(std::vector<std::string> line) {
    line.insert(line.begin(), {"complete", "--"});
    std::istringstream stream(out(line));
    std::vector<std::string> found;
    for (std::string one; std::getline(stream, one);)
      found.push_back(one.substr(0, one.find('\t')));
    return found;
  }
  using Words = std::vector<std::string>;
};

TEST_F(Complete, CommandsAndOptions) {
  EXPECT_EQ(words({"hier"}), Words{"hierarchy"});
  EXPECT_EQ(words({"hierarchy", ""}), (Words{"create", "list", "destroy"}));
  EXPECT_EQ(words({"hierarchy", "de"}), Words{"destroy"});
  EXPECT_EQ(words({"help", "subs"}), Words{"subsystems"});
  EXPECT_EQ(words({"--js"}), Words{"--json"});
  EXPECT_EQ(words({"--json", "tre"}), Words{"tree"});
  EXPECT_EQ(words({"up", "--max-c"}), Words{"--max-containers"});
  EXPECT_EQ(words({"tree", "--js"}), Words{"--json"});                /* that of every command */
  EXPECT_EQ(words({"up", "--max-tasks", "100", "--max-t"}), Words{}); /* given */
  EXPECT_EQ(words({"stat", "--format", "c"}), Words{"csv"});
  EXPECT_EQ(words({"stat", "--format=j"}), Words{"--format=json"});
  EXPECT_EQ(words({"kill", "-s", "TE"}), Words{"TERM"});
  EXPECT_EQ(words({"hierarchy", "create", "x", "-o", "cpuacct,numt"}), Words{"cpuacct,numtasks"});
  EXPECT_EQ(words({"hierarchy", "create", "x", "-o", "cpuacct,cpua"}), Words{});
  EXPECT_EQ(words({"nosuch", ""}), Words{});
  EXPECT_EQ(words({"complet"}), Words{}); /* it is for programs */
}

TEST_F(Complete, WhatIsLeftToTheShell) {
  EXPECT_EQ(words({"create", "-f", ""}), Words{":files"});
  EXPECT_EQ(words({"--bpffs", ""}), Words{":directories"});
  EXPECT_EQ(words({"run", ""}), Words{":command 1"});
  EXPECT_EQ(words({"run", "--numtasks", "5", "--stat", "ls", "-l"}), Words{":command 4"});
  EXPECT_EQ(words({"run", "-p", "--", "--od"}), Words{":command 3"});
  EXPECT_EQ(words({"run", "--numt"}), Words{"--numtasks"});
}

TEST_F(Complete, AddressesLevelByLevel) {
  create("default:/build");
  create("default:/build/nightly");
  create("default:/bu ll");
  create("default:/web");
  EXPECT_EQ(words({"get", "def"}), Words{"default:/"});
  EXPECT_EQ(words({"get", "numt"}), Words{"numtasks:/"});
  EXPECT_EQ(words({"get", "default:/"}),
            (Words{"default:/bu ll", "default:/build/", "default:/web"}));
  EXPECT_EQ(words({"get", "numtasks:/bui"}), Words{"numtasks:/build/"});
  EXPECT_EQ(words({"get", "default:/build/"}), Words{"default:/build/nightly"});
  EXPECT_EQ(words({"get", "default:/nosuch/"}), Words{});
  EXPECT_EQ(words({"get", "nosuch:/"}), Words{});
  EXPECT_EQ(words({"create", "default:/w"}), Words{"default:/web/"}); /* a parent to be */
  EXPECT_EQ(words({"rm", "default:/web", "default:/w"}), Words{"default:/web"}); /* one more */
  EXPECT_EQ(words({"run", "-c", "default:/w"}), Words{"default:/web"});
  EXPECT_EQ(words({"run", "--container=default:/w"}), Words{"--container=default:/web"});
  EXPECT_EQ(words({"rename", "default:/web", ""}), Words{}); /* a new name */
  EXPECT_EQ(words({"hierarchy", "destroy", ""}), Words{"default"});
}

TEST_F(Complete, AttributesOfTheContainer) {
  create("default:/a");
  limit("default:/a", "77");
  out({"hierarchy", "create", "plain"});
  EXPECT_EQ(words({"get", "default:/a", "numtasks.li"}), Words{"numtasks.limit"});
  EXPECT_EQ(words({"get", "plain:/", "numtasks.li"}), Words{});      /* which it has not */
  EXPECT_EQ(words({"set", "default:/a", "numtasks.curr"}), Words{}); /* read only */
  EXPECT_EQ(words({"set", "default:/a", "numtasks.li"}), Words{"numtasks.limit="});
  EXPECT_EQ(words({"set", "default:/a", "numtasks.limit="}), Words{"numtasks.limit=77"});
  EXPECT_EQ(words({"run", "-c", "default:/a", "-s", "notify"}), Words{"notify_on_release="});
  EXPECT_EQ(words({"stat", "-s", "tasks_l"}), Words{"tasks_limit"});
}

TEST_F(Complete, Pids) {
  Background sleeper({"sleep", "1000"});
  std::string pid = std::to_string(sleeper.pid());
  Words found = words({"attach", "default:/", pid});
  EXPECT_NE(std::find(found.begin(), found.end(), pid), found.end());
}

/* Where nothing is up, and for those who may not look, it says what it can, and no error. */
TEST_F(Complete, IsSilentWithoutRightsAndWhereNothingIsUp) {
  for (const std::string who : {"", "setpriv --reuid=65534 --regid=65534 --clear-groups "})
    for (const std::string where : {"", "--bpffs /sys/fs/bpf/nosuch "}) {
      if (who.empty() && where.empty()) continue;
      std::string line = who + ctnbpf_path() + " complete -- " + where;
      Output none = shell(line + "get default:/");
      EXPECT_EQ(none.code, 0);
      EXPECT_EQ(none.out + none.err, "") << line;
      EXPECT_TRUE(shell(line + "set default:/ numtasks.li").out.starts_with("numtasks.limit=\t"));
    }
}

/* A shell with our completions, a `ctnbpf` that is the tested one, and a key (^O) that shows the line. */
class Shells : public Complete {
 protected:
  static std::string share(const std::string& file) {
    return std::string(CTNBPF_SOURCE_DIR) + "/share/completions/" + file;
  }
  static std::string path() {
    return "PATH=" + ctnbpf_path().substr(0, ctnbpf_path().rfind('/')) + ":$PATH";
  }
  static bool have(const std::string& what) { return shell(what).code == 0; }

  void SetUp() override {
    Complete::SetUp();
    create("default:/build");
    create("default:/build/nightly");
    create("default:/web one");
    limit("default:/build", "9");
  }
  /* What a line and a TAB come to. */
  static void lines(Pty& on) {
    const std::vector<std::pair<std::string, std::string>> all = {
        {"ctnbpf hier", "<ctnbpf hierarchy >"},
        {"ctnbpf hierarchy des", "<ctnbpf hierarchy destroy >"},
        {"ctnbpf get default:/bui", "<ctnbpf get default:/build/>"},
        {"ctnbpf get default:/build/n", "<ctnbpf get default:/build/nightly >"},
        {"ctnbpf ps default:/we", "<ctnbpf ps default:/web\\ one >"},
        {"ctnbpf set default:/build numtasks.lim", "<ctnbpf set default:/build numtasks.limit=>"},
        {"ctnbpf set default:/build numtasks.limit=",
         "<ctnbpf set default:/build numtasks.limit=9 >"},
        {"ctnbpf create -f /etc/hostn", "<ctnbpf create -f /etc/hostname >"},
        {"ctnbpf run -c default:/build -- setpri", "<ctnbpf run -c default:/build -- setpriv >"},
        {"ctnbpf run -c default:/build cat /etc/hostn",
         "<ctnbpf run -c default:/build cat /etc/hostname >"},
    };
    for (const auto& [typed, becomes] : all) {
      on.type("\x15" + typed + "\t\x0f"); /* ^U: what was there goes */
      EXPECT_TRUE(on.shows(becomes)) << typed;
    }
  }
};

TEST_F(Shells, Bash) {
  const std::string library = "/usr/share/bash-completion/bash_completion";
  if (::access(library.c_str(), R_OK) != 0) GTEST_SKIP() << "bash-completion is not installed";
  Pty bash({"bash", "--norc", "--noprofile", "-i"}, "dumb", 50, 200);
  ASSERT_TRUE(bash.says(path() + "; . " + library + "; . " + share("ctnbpf.bash") +
                            R"sh(; bind -x '"\C-o": echo "<$READLINE_LINE>"'; echo re'ady')sh",
                        "ready"));
  lines(bash);
}

TEST_F(Shells, Zsh) {
  /* Not in an emulated machine, where it takes minutes to look for its functions. */
  if (std::getenv("CTNBPF_REQUIRE_KERNEL") != nullptr) return;
  if (!have("command -v zsh >/dev/null")) GTEST_SKIP() << "zsh is not installed";
  std::string dir = ::testing::TempDir() + "ctnbpf-zsh." + std::to_string(::getpid());
  ASSERT_TRUE(have("mkdir -p " + dir + " && cp " + share("ctnbpf.zsh") + " " + dir + "/_ctnbpf"));
  Pty zsh({"zsh", "-f", "-i"}, "dumb", 50, 200);
  ASSERT_TRUE(
      zsh.says(path() + "; fpath=(" + dir + " $fpath); autoload -Uz compinit; compinit -D " +
                   R"sh(-u; bindkey -e; show() { print -r -- "<$BUFFER>" }; zle -N show; )sh" +
                   R"sh(bindkey '^O' show; bindkey '^U' kill-whole-line; echo re'ady')sh",
               "ready"));
  lines(zsh);
  shell("rm -r " + dir);
}

TEST_F(Shells, Fish) {
  if (!have("command -v fish >/dev/null")) GTEST_SKIP() << "fish is not installed";
  std::string home = ::testing::TempDir() + "ctnbpf-fish." + std::to_string(::getpid());
  auto says = [&home](const std::string& line) {
    Output said = shell(path() + " HOME=" + home + " fish --no-config -c '. " +
                        share("ctnbpf.fish") + "; complete -C \"" + line + "\"'");
    EXPECT_EQ(said.err, "") << line;
    return said.out;
  };
  EXPECT_EQ(says("ctnbpf hier"), "hierarchy\tmake, list and destroy hierarchies\n");
  EXPECT_EQ(says("ctnbpf get default:/bui"), "default:/build/\t0 tasks\n");
  EXPECT_EQ(says("ctnbpf get default:/build/"), "default:/build/nightly\t0 tasks\n");
  EXPECT_EQ(says("ctnbpf ps default:/we"), "default:/web one\t0 tasks\n");
  EXPECT_TRUE(says("ctnbpf set default:/build numtasks.lim").starts_with("numtasks.limit=\t"));
  EXPECT_EQ(says("ctnbpf set default:/build numtasks.limit="), "numtasks.limit=9\tas it is\n");
  EXPECT_TRUE(says("ctnbpf create -f /etc/hostn").starts_with("/etc/hostname"));
  EXPECT_TRUE(says("ctnbpf run -c default:/build -- setpri").starts_with("setpriv"));
  EXPECT_TRUE(says("ctnbpf run cat /etc/hostn").starts_with("/etc/hostname"));
  shell("rm -rf " + home);
}

}  // namespace
}  // namespace ctnbpf::test
