/* top: on terminals of the test's own, and without one. */
#include "cli_test.h"
#include "terminal.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kDown = "\x1bOB"; /* vt100's key */

class TopCommand : public CliTest {};

TEST_F(TopCommand, BatchesAreTables) {
  create("default:/web");
  create("default:/web/a");
  Background task = sleeper("default:/web/a");
  std::string text = out({"top", "-b", "-n", "2", "-d", "0.1"});
  EXPECT_TRUE(text.starts_with("container ")) << text;
  EXPECT_NE(text.find("ref/s"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  web "), std::string::npos) << text;
  EXPECT_NE(text.find("\n    a "), std::string::npos) << text;
  EXPECT_NE(text.find("\n\ncontainer "), std::string::npos) << text;
  std::string below = out({"top", "default:/web", "-b", "-n", "1", "-d", "0.1"});
  EXPECT_EQ(below.find("default:/ "), std::string::npos) << below;
  EXPECT_NE(below.find("\ndefault:/web "), std::string::npos) << below;
}

TEST_F(TopCommand, RefusalsAreASecondOnes) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/web", {"numtasks.limit=1"});
  Background task = start_in("default:/web", [] {
    for (;;) {
      if (::fork() == 0) ::_exit(0);
      ::usleep(1000);
    }
    return 0;
  });
  std::string text = out({"top", "default:/web", "-b", "-n", "1", "-d", "1"});
  std::istringstream words(text.substr(text.find("\ndefault:/web ")));
  std::string name, tasks, limit, refused;
  words >> name >> tasks >> limit >> refused;
  EXPECT_EQ(tasks + " " + limit, "1 1");
  EXPECT_GT(std::atof(refused.c_str()), 10) << text;
}

TEST_F(TopCommand, KeysWorkOnASerialLine) {
  create("default:/web");
  Background task = sleeper("default:/web");
  Pty terminal({ctnbpf_path(), "top", "-d", "0.2"}, "vt100", 24, 80);
  ASSERT_TRUE(terminal.shows("1 hierarchy, 1 container"));
  ASSERT_TRUE(terminal.shows("web"));
  terminal.type(std::string(kDown) + "l");
  ASSERT_TRUE(terminal.shows("set default:/web"));
  terminal.type("notify_on_release=1\n");
  ASSERT_TRUE(terminal.shows("done: set"));
  EXPECT_EQ(number("default:/web", "notify_on_release"), 1u);
  terminal.type("l");
  ASSERT_TRUE(terminal.shows("set default:/web"));
  terminal.type("nosuch=1\n");
  ASSERT_TRUE(terminal.shows("unknown attribute"));
  terminal.resize(50, 200);
  ASSERT_TRUE(terminal.shows("containe"));
  terminal.type("k");
  ASSERT_TRUE(terminal.shows("signal to all tasks of default:/web"));
  terminal.type("\n"); /* none */
  ASSERT_TRUE(terminal.shows("nothing was sent"));
  terminal.type("k");
  ASSERT_TRUE(terminal.shows("signal to"));
  terminal.type("KILL\n");
  EXPECT_EQ(task.wait(), 128 + SIGKILL);
  terminal.type("q");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(TopCommand, SaysWhatItNeeds) {
  fails({"top"}, 1, {"needs a terminal", "-b"});
  fails({"top", "-b", "-n", "1", "-s", "nosuch"}, 1, {"no column 'nosuch'", "tasks"});
  fails({"top", "-b", "-n", "1", "default:/nosuch"}, 1, {"default:/nosuch"});
  fails({"top", "-n", "1"}, 2, {"--batch"});
  Pty terminal({ctnbpf_path(), "top"}, "dumb", 24, 80);
  EXPECT_TRUE(terminal.shows("'dumb' will not do"));
  EXPECT_EQ(terminal.wait(), 1);
}

}  // namespace
}  // namespace ctnbpf::test
