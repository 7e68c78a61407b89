/* numtasks over real forks: the promises of subsystems/numtasks/numtasks.cpp. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_test.h"

namespace ctnbpf::test {
namespace {

class Numtasks : public KernelTest {};

/* Forks up to `most` children that wait for a signal; how many forks worked. Ends them again. */
int fork_many(int most) {
  std::vector<pid_t> children;
  for (int i = 0; i < most; i++) {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
    if (pid > 0) children.push_back(pid);
  }
  int made = static_cast<int>(children.size());
  for (pid_t pid : children) ::kill(pid, SIGKILL);
  for (pid_t pid : children) ::waitpid(pid, nullptr, 0);
  return made;
}

TEST_F(Numtasks, CountsForkedTasksUntilReaped) {
  create("default:/a");
  Background child = start_in("default:/a", [] { return fork_many(5) == 5 ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(eventually([&] { return number("default:/a", "numtasks.current") == 0; }));
  EXPECT_EQ(number("default:/a", "numtasks.peak"), 6u);
}

TEST_F(Numtasks, RefusesWithEagainAtTheLimit) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a", {"numtasks.limit=4"});
  Background child = start_in("default:/a", [] {
    int made = fork_many(10);
    if (made != 3) return 1;
    std::vector<pid_t> rest;
    for (int i = 0; i < 3; i++) {
      pid_t pid = ::fork();
      if (pid == 0) {
        ::pause();
        ::_exit(0);
      }
      rest.push_back(pid);
    }
    bool refused = ::fork() == -1 && errno == EAGAIN;
    for (pid_t pid : rest) ::kill(pid, SIGKILL);
    for (pid_t pid : rest) ::waitpid(pid, nullptr, 0);
    return refused ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 8u);
  EXPECT_EQ(number("default:/a", "numtasks.events"), 8u);
  EXPECT_EQ(number("default:/a", "numtasks.peak"), 4u);
}

}  // namespace
}  // namespace ctnbpf::test
