/* ctnbpf of users who are not root, through a mount. */
#include <sys/stat.h>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

class User : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    out({"create", "default:/a", "--owner", "60001:60001"});
    create("default:/other");
  }
  static Output as(const std::string& uid, const std::vector<std::string>& args) {
    std::vector<std::string> argv{"setpriv", "--reuid=" + uid, "--regid=" + uid, "--clear-groups",
                                  ctnbpf_path()};
    argv.insert(argv.end(), args.begin(), args.end());
    return run(argv);
  }
  static Output alice(const std::vector<std::string>& args) { return as("60001", args); }
  static std::string says(const std::vector<std::string>& args) {
    Output done = alice(args);
    EXPECT_EQ(done.code, 0) << line_of(args) << "\n" << done.err;
    EXPECT_EQ(done.err, "") << line_of(args);
    return done.out;
  }
  static void refuses(const std::vector<std::string>& args, int code,
                      const std::vector<std::string>& sentence) {
    Output done = alice(args);
    EXPECT_EQ(done.code, code) << line_of(args) << "\n" << done.err;
    EXPECT_EQ(done.out, "") << line_of(args);
    expect_message(done.err, sentence);
  }
};

TEST_F(User, MakesWhatIsItsOwn) {
  Mounted fs;
  says({"create", "default:/a/b", "-s", "notify_on_release=1"});
  EXPECT_EQ(number("default:/a/b", "notify_on_release"), 1u);
  refuses({"create", "default:/a/b"}, 1, {"default:/a/b exists already"});
  refuses({"create", "default:/a/c/d"}, 1, {"default:/a/c does not exist; -p makes it"});
  /* All of it, or nothing. */
  refuses({"create", "-p", "default:/a/c/d", "-s", "notify_on_release=2"}, 1,
          {"notify_on_release cannot be '2': use 0 or 1"});
  EXPECT_FALSE(exists("default:/a/c"));
  says({"create", "-p", "default:/a/c/d"});
  refuses({"create", "default:/other/x"}, 1,
          {"user 60001 may not change what is in default:/other"});
  refuses({"create", "default:/x"}, 1, {"may not change what is in default:/"});
  refuses({"create", "default:/a/bad\n"}, 1, {"bad"});
  says({"set", "default:/a/b", "notify_on_release=0"});
  refuses({"set", "default:/a/b", "notify_on_release=1", "nosuch=1"}, 1, {"unknown attribute"});
  EXPECT_EQ(number("default:/a/b", "notify_on_release"), 0u);
  refuses({"set", "default:/a", "notify_on_release=1"}, 1,
          {"user 60001 may not set attributes of default:/a", "owner of the container above"});
  refuses({"set", "default:/", "notify_on_release=1"}, 1, {"may not set"});
  says({"rename", "default:/a/b", "z"});
  EXPECT_TRUE(exists("default:/a/z"));
  refuses({"rename", "default:/a/z", "c"}, 1, {"exists already"});
  refuses({"rename", "default:/a", "c"}, 1, {"may not change what is in default:/"});
  refuses({"rm", "default:/a/c"}, 1, {"default:/a/c", "1 container below it"});
  says({"rm", "-r", "default:/a/c", "default:/a/z"});
  EXPECT_FALSE(exists("default:/a/c"));
  EXPECT_FALSE(exists("default:/a/z"));
  refuses({"rm", "default:/other"}, 1, {"may not change what is in default:/"});
  /* Whose container is another's. */
  Output bob = as("60002", {"create", "default:/a/b"});
  EXPECT_EQ(bob.code, 1);
  expect_message(bob.err, {"user 60002 may not change what is in default:/a"});
}

TEST_F(User, MovesItsOwnTasks) {
  Mounted fs({"default"});
  Background own([] { return ::setresuid(60001, 60001, 60001) == 0 ? ::pause() : 1; });
  std::string pid = std::to_string(own.pid());
  ASSERT_TRUE(eventually([&] {
    return alice({"where", pid}).code == 0; /* it is alice's by now */
  }));
  says({"attach", "default:/a", pid});
  EXPECT_EQ(out({"ps", "default:/a"}), pid + "\n");
  EXPECT_EQ(says({"ps", "default:/a"}), pid + "\n");
  EXPECT_EQ(says({"where", pid}), out({"where", pid}));
  EXPECT_EQ(says({"where", pid, "--json"}), out({"where", pid, "--json"}));
  refuses({"attach", "default:/a", std::to_string(::getpid())}, 1, {"does not run as user 60001"});
  refuses({"attach", "default:/other", pid}, 1, {"user 60001 may not attach to default:/other"});
  refuses({"attach", "default:/a", "4194304"}, 1, {"4194304"});
  refuses({"attach", "--tree", "default:/a", pid}, 1, {"`ctnbpf attach --tree` needs root"});
  refuses({"where", std::to_string(::getpid())}, 1, {"is not of user 60001"});
  refuses({"explain", std::to_string(::getpid())}, 1, {"is not of user 60001"});
  refuses({"where", "4194304"}, 1, {"no process or thread 4194304"});
}

TEST_F(User, SeesWhatRootSees) {
  create("default:/a/b", {"notify_on_release=1"});
  create("default:/a/b/c");
  create("default:/a/d");
  Mounted fs;
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"get", "default:/a/b"},
                                             {"get", "-r", "default:/a", "notify_on_release"},
                                             {"--json", "get", "default:/a/b"},
                                             {"--json", "get", "-r", "default:/a"},
                                             {"get", "-n", "numtasks:/a/b", "notify_on_release"},
                                             {"tree", "default:/a"},
                                             {"tree", "-a", "default:/a"},
                                             {"tree", "--depth", "1", "default:/a"},
                                             {"--json", "tree", "default:/a"},
                                             {"stat", "default:/a", "-r"},
                                             {"stat", "default:/a", "--format", "csv"},
                                             {"stat", "default:/a", "-r", "-s", "tasks_peak"},
                                             {"--json", "stat", "default:/a", "-r"}})
    EXPECT_EQ(says(args), out(args)) << line_of(args);
  /* Of the hierarchy's root figures move; its line does not. */
  std::string tree = says({"tree"});
  EXPECT_TRUE(tree.starts_with(title().substr(0, title().find(')') + 1))) << tree;
  EXPECT_NE(tree.find("├─ a "), std::string::npos) << tree;
  EXPECT_NE(tree.find("└─ other "), std::string::npos) << tree;
  refuses({"get", "default:/a", "notify"}, 1, {"unknown attribute 'notify'", "did you mean"});
  refuses({"get", "default:/nosuch"}, 1, {"no container default:/nosuch"});
  refuses({"get", "nosuch:/a"}, 1, {"no hierarchy or subsystem 'nosuch'"});
  refuses({"stat", "--removed"}, 1, {"`ctnbpf stat --removed` needs root"});
  refuses({"stat", "-s", "nosuch"}, 1, {"no column 'nosuch'"});
  refuses({"kill", "default:/a"}, 1, {"`ctnbpf kill` needs root"});
  refuses({"create"}, 2, {"ADDR"});
  /* What is closed to it is not shown: neither by a file nor by the figures of what is above. */
  ASSERT_EQ(::chmod((fs / "default/a/b").c_str(), 0700), 0);
  EXPECT_EQ(says({"tree", "default:/a"}).find("c "), std::string::npos);
  refuses({"get", "default:/a/b/c"}, 1, {"user 60001 may not look into default:/a/b"});
}

TEST_F(User, Runs) {
  Mounted fs({"default"});
  std::string self = ctnbpf_path();
  std::string list = out({"where", std::to_string(::getpid())});
  list = list.substr(0, list.find(':'));
  Output done = alice({"run", "-c", "default:/a", "-p", "-s", "notify_on_release=1", "true"});
  EXPECT_EQ(done.code, 125);
  expect_message(done.err, {"may not set attributes of default:/a"});
  EXPECT_EQ(says({"run", "-p", "-c", "default:/a/b/c", "-s", "notify_on_release=1", "--", "sh",
                  "-c", self + " where $$"}),
            list + ":/a/b/c\n");
  EXPECT_EQ(number("default:/a/b/c", "notify_on_release"), 1u);
  /* A container of its own, in the user's only one; it goes with the command. */
  done = alice(
      {"run", "--stat", "--", "sh", "-c", self + " where $$; " + self + " explain $$; exit 3"});
  EXPECT_EQ(done.code, 3);
  EXPECT_TRUE(done.out.starts_with(list + ":/a/run-")) << done.out;
  EXPECT_NE(done.out.find("pid_max"), std::string::npos) << done.out;
  EXPECT_NE(done.err.find("tasks peak "), std::string::npos) << done.err;
  EXPECT_EQ(alice({"run", "--name", "mine", "--", "sh", "-c", "kill -TERM $$"}).code, 143);
  EXPECT_EQ(out({"ps", "-r", "default:/a"}), "");
  EXPECT_FALSE(exists("default:/a/mine"));
  EXPECT_EQ(alice({"run", "--", "/nonexistent"}).code, 127);
  refuses({"run", "-c", "default:/other", "true"}, 125, {"may not attach to default:/other"});
  Output bob = as("60002", {"run", "true"});
  EXPECT_EQ(bob.code, 125);
  expect_message(bob.err, {"user 60002 has no container in hierarchy 'default'",
                           "ctnbpf create default:/NAME --owner USER"});
  Output json = alice({"tree", "default:/a", "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)[0]["children"].size(), 1u) << json.out;
}

TEST_F(User, AnswersAreForWhoeverAsksAboutItsOwn) {
  Mounted fs({"default"});
  EXPECT_EQ(as_user(60001, [&] { return read_from(fs / ".where") == "default:/\n" ? 0 : 1; }), 0);
  EXPECT_EQ(as_user(60001, [&] { return write_to(fs / ".where", "-1"); }), EINVAL);
  /* Of another's task neither who opened the file nor who asks is told. */
  int by_root = ::open((fs / ".where").c_str(), O_RDWR);
  EXPECT_EQ(as_user(60001,
                    [&] {
                      std::string ours = std::to_string(::getppid());
                      if (::write(by_root, ours.data(), ours.size()) < 0) return 1;
                      char text[64];
                      return ::pread(by_root, text, sizeof(text), 0) < 0 && errno == EPERM ? 0 : 2;
                    }),
            0);
  ::close(by_root);
  /* Settings are root's to make, as attributes are. */
  EXPECT_EQ(as_user(60001, [&] { return write_to(fs / "a/.set", "notify_on_release=1"); }), EACCES);
  EXPECT_EQ(write_to(fs / "a/.set", "notify_on_release=1\nnosuch=1\n"), ENOENT);
  EXPECT_EQ(number("default:/a", "notify_on_release"), 0u);
  EXPECT_EQ(write_to(fs / "a/.set", "notify_on_release=1\n"), 0);
  EXPECT_EQ(number("default:/a", "notify_on_release"), 1u);
}

}  // namespace
}  // namespace ctnbpf::test
