/* Workloads for kernel tests: things tasks do, in this process or a forked one. */
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace ctnbpf::test {

/* Children that wait in pause(); killed and reaped by the destructor or by end(). */
class Sleepers {
 public:
  /* Forks until `most` are there or fork fails; failed() says how the last fork failed, or 0. */
  explicit Sleepers(int most);
  Sleepers(const Sleepers&) = delete;
  Sleepers& operator=(const Sleepers&) = delete;
  ~Sleepers() { end(); }

  int count() const { return static_cast<int>(pids_.size()); }
  int failed() const { return failed_; }
  const std::vector<pid_t>& pids() const { return pids_; }
  void end();

 private:
  std::vector<pid_t> pids_;
  int failed_ = 0;
};

/* Forks children that end at once and reaps them, for as long as `go` is true. Returns how many. */
long fork_and_reap(const std::function<bool()>& go);
/* `count` of them; returns the number of forks that failed. */
long fork_and_reap(long count);

/* A fork bomb: every task forks as fast as it can, children too, until `seconds` have passed; then
 * all of it is gone when this returns (it leads a session of its own and is killed as one). */
void fork_bomb(int forkers, int seconds);

/* Runs `body` again and again in a thread of this process until stopped. */
class Repeating {
 public:
  explicit Repeating(std::function<void()> body);
  ~Repeating() { stop(); }
  Repeating(const Repeating&) = delete;
  Repeating& operator=(const Repeating&) = delete;
  long stop(); /* how often it ran */

 private:
  std::atomic<bool> stop_{false};
  std::atomic<long> runs_{0};
  std::thread thread_;
};

}  // namespace ctnbpf::test
