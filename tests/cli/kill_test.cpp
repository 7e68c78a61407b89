/* kill, as a command. What it does to tasks is in tests/kernel/events_test.cpp. */
#include <sys/file.h>
#include <sys/wait.h>

#include <chrono>

#include "cli_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class KillCommand : public CliTest {};

TEST_F(KillCommand, EndsEveryTaskOfTheContainer) {
  create("default:/a");
  create("default:/a/b");
  Background one = sleeper("default:/a");
  Background two = sleeper("default:/a");
  Background below = sleeper("default:/a/b");
  EXPECT_EQ(json({"kill", "default:/a"}),
            nlohmann::json({{"signalled", 2}, {"left", 0}, {"self", false}}));
  EXPECT_EQ(one.wait(), 128 + SIGKILL);
  EXPECT_EQ(two.wait(), 128 + SIGKILL);
  EXPECT_EQ(out({"ps", "default:/a/b"}), std::to_string(below.pid()) + "\n");
  EXPECT_EQ(out({"kill", "-r", "default:/a"}), "");
  EXPECT_EQ(below.wait(), 128 + SIGKILL);
  out({"kill", "default:/a"}); /* nobody is there */
}

TEST_F(KillCommand, SaysWhoIsLeftAfterTheTimeout) {
  create("default:/a");
  std::array<int, 2> ready = {};
  ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
  Background deaf = start_in("default:/a", [&] {
    ::signal(SIGTERM, SIG_IGN);
    (void)!::write(ready[1], "r", 1);
    return ::pause();
  });
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  fails({"kill", "-s", "TERM", "--timeout", "0.1", "default:/a"}, 1,
        {"default:/a still has 1 task 0.1 s after the signal", "`ctnbpf ps default:/a`"});
  EXPECT_EQ(out({"kill", "-s", "sigterm", "default:/a"}), ""); /* is not waited for */
  EXPECT_EQ(out({"kill", "-s", "9", "default:/a"}), "");
  EXPECT_EQ(deaf.wait(), 128 + SIGKILL);
  ::close(ready[0]);
  ::close(ready[1]);
}

/* Many more processes than descriptors. */
TEST_F(KillCommand, TakesNoMoreDescriptorsThanThereAre) {
  create("default:/a");
  Background many = start_in("default:/a", [] {
    for (int i = 0; i < 400; i++) /* that do not die of their parent's death */
      if (::fork() == 0)
        for (;;) ::pause();
    return ::pause();
  });
  ASSERT_TRUE(eventually([&] { return number("default:/a", "tasks") == 401; }));
  Output killed = shell("ulimit -n 64; exec " + ctnbpf_path() + " --json kill default:/a");
  EXPECT_EQ(killed.code, 0) << killed.err;
  EXPECT_EQ(nlohmann::json::parse(killed.out),
            nlohmann::json({{"signalled", 401}, {"left", 0}, {"self", false}}));
  EXPECT_EQ(many.wait(), 128 + SIGKILL);
}

/* Whatever the members do: these ignore the signal and fork on, so that there is always somebody who has not got
 * it. */
TEST_F(KillCommand, TheTimeoutIsATotal) {
  need_level(CTN_LEVEL_FALLBACK); /* or the bomb would have no bounds */
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a", {"numtasks.limit=64"});
  Background forks = start_in("default:/a", [] {
    ::signal(SIGTERM, SIG_IGN);
    fork_bomb(4, 60);
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return number("default:/a", "numtasks.peak") > 32; }));
  auto began = std::chrono::steady_clock::now();
  fails({"kill", "-s", "TERM", "--timeout", "1", "default:/a"}, 1, {"1 s after the signal"});
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  EXPECT_EQ(out({"kill", "default:/a"}), "");
}

/* How long tasks take to end is no affair of other commands. */
TEST_F(KillCommand, TheLockIsFreeWhileItWaits) {
  create("default:/a");
  std::array<int, 2> heard = {};
  ASSERT_EQ(::pipe2(heard.data(), O_CLOEXEC), 0);
  Background deaf = start_in("default:/a", [&] {
    static int out = heard[1];
    ::signal(SIGTERM, [](int) { (void)!::write(out, "t", 1); });
    (void)!::write(out, "r", 1);
    for (;;) ::pause();
    return 0;
  });
  char c = 0;
  ASSERT_EQ(::read(heard[0], &c, 1), 1);
  Background killer({ctnbpf_path(), "kill", "-s", "TERM", "--timeout", "600", "default:/a"});
  ASSERT_EQ(::read(heard[0], &c, 1), 1);
  EXPECT_EQ(c, 't');
  Output made = run({"timeout", "60", ctnbpf_path(), "create", "default:/b"});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(::waitpid(killer.pid(), nullptr, WNOHANG), 0) << "it waits still";
  deaf.signal(SIGKILL);
  EXPECT_EQ(killer.wait(), 0);
  ::close(heard[0]);
  ::close(heard[1]);
}

/* It may be in the container itself: then it comes last. */
TEST_F(KillCommand, ComesLastItself) {
  create("default:/a");
  Background other = sleeper("default:/a");
  Output both = run(
      {ctnbpf_path(), "run", "-c", "default:/a", ctnbpf_path(), "--json", "kill", "default:/a"});
  EXPECT_EQ(both.code, 128 + SIGKILL);
  EXPECT_EQ(nlohmann::json::parse(both.out)["self"], true);
  EXPECT_EQ(other.wait(), 128 + SIGKILL);
}

TEST_F(KillCommand, RealTimeSignalsHaveNames) {
  create("default:/a");
  for (const auto& [name, number] :
       std::vector<std::pair<std::string, int>>{{"SIGRTMIN", SIGRTMIN},
                                                {"RTMIN+3", SIGRTMIN + 3},
                                                {"sigrtmax-1", SIGRTMAX - 1},
                                                {"RTMAX", SIGRTMAX}}) {
    Background task = sleeper("default:/a");
    out({"kill", "-s", name, "default:/a"});
    EXPECT_EQ(task.wait(), 128 + number) << name;
  }
  for (const char* bad : {"RTMIN-1", "RTMAX+1", "RTMIN+", "RTMIN+99", "RTMIN+1x", "RTMIN++1"})
    fails({"kill", "-s", bad, "default:/a"}, 2,
          {std::string("no signal '") + bad + "'", "RTMIN+1"});
}

TEST_F(KillCommand, BadInput) {
  create("default:/a");
  fails({"kill", "default:/"}, 1, {"default:/ is a root", "-r"});
  fails_json({"kill", "default:/"}, 1, "EPERM");
  fails({"kill", "default:/nosuch"}, 1, {"no container default:/nosuch"});
  for (const char* bad : {"NOSUCH", "0", "-1", "65", "9x"})
    fails({"kill", "default:/a", std::string("--signal=") + bad}, 2,
          {"no signal '", "such as TERM", "from 1 to 64"});
  for (const char* bad : {"-1", "x", "nan", "1e9"})
    fails({"kill", "default:/a", std::string("--timeout=") + bad}, 2,
          {"--timeout", "number of seconds from 0 to 86400"});
}

}  // namespace
}  // namespace ctnbpf::test
