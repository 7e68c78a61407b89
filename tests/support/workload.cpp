#include "workload.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace ctnbpf::test {

Sleepers::Sleepers(int most) {
  pid_t parent = ::getpid();
  while (count() < most) {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(0); /* it died before this was asked for */
      for (;;) ::pause();
    }
    if (pid < 0) {
      failed_ = errno;
      return;
    }
    pids_.push_back(pid);
  }
}

void Sleepers::end() {
  for (pid_t pid : pids_) ::kill(pid, SIGKILL);
  for (pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
  pids_.clear();
}

long fork_and_reap(const std::function<bool()>& go) {
  long forks = 0;
  while (go()) {
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    if (pid < 0) continue;
    ::waitpid(pid, nullptr, 0);
    forks++;
  }
  return forks;
}

long fork_and_reap(long count) {
  long failed = 0;
  for (long i = 0; i < count; i++) {
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    if (pid < 0)
      failed++;
    else
      ::waitpid(pid, nullptr, 0);
  }
  return failed;
}

namespace {

/* Where no limit of ours holds, the machine that runs the tests is to go on. */
constexpr int kMostForkers = 500;

[[noreturn]] void bomb(time_t end, std::atomic<int>* forkers) {
  ::signal(SIGCHLD, SIG_IGN); /* reaped by the kernel */
  ++*forkers;
  while (::time(nullptr) < end) {
    if (*forkers >= kMostForkers) {
      ::sched_yield();
      continue;
    }
    pid_t pid = ::fork();
    if (pid != 0) continue;
    /* Half of the children fork on, half end: the bomb keeps hitting the limit from below. */
    if ((::getpid() & 1) != 0) ::_exit(0);
    ++*forkers;
  }
  --*forkers;
  ::_exit(0);
}

}  // namespace

void fork_bomb(int forkers, int seconds) {
  time_t end = ::time(nullptr) + seconds;
  std::vector<pid_t> leaders;
  void* shared = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return;
  auto* forking = new (shared) std::atomic<int>(0);
  for (int i = 0; i < forkers; i++) {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::setpgid(0, 0);
      bomb(end, forking);
    }
    if (pid > 0) leaders.push_back(pid);
  }
  for (pid_t pid : leaders) {
    ::waitpid(pid, nullptr, 0);
    while (::kill(-pid, SIGKILL) == 0) { /* until the group is empty */
    }
  }
  ::munmap(shared, sizeof(*forking));
}

Repeating::Repeating(std::function<void()> body)
    : thread_([this, body = std::move(body)] {
        while (!stop_) {
          body();
          runs_++;
        }
      }) {}

long Repeating::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return runs_;
}

}  // namespace ctnbpf::test
