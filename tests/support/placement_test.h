/* Fixture of the tests of cpuset and memset. */
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "kernel_test.h"

namespace ctnbpf::test {

class PlacementTest : public KernelTest {
 protected:
  /* Skips (also where nothing may be skipped: a VM has the CPUs and nodes it was given). */
  void need_cpus(unsigned count);
  /* ... where a member's own change of its mask cannot be refused. */
  void need_refusals();
  static bool group_driver();
  void TearDown() override;
  /* The group of ours, there or not. */
  std::string top_group() const { return root_ + "/ctnbpf"; }
  const std::string& cgroup_root() const { return root_; }
  /* A task's group by the driver in use, from the root of the cgroup tree. */
  std::string group_of(pid_t pid) const;
  /* Makes a group outside of ours; in v1 one that tasks can come to. */
  void make_group(const std::string& group) const;
  void write_group(const std::string& file, const std::string& text) const;
  /* Moves a member to another group, as if nothing had seen it. */
  void smuggle(pid_t pid, const std::string& group) const;
  /* Instead of the default layout: a hierarchy `p` with cpuset and memset. */
  void use_driver(const std::string& driver);
  void take_all_down();
  void destroy(const std::string& one, const std::string& other);
  void remove_once_free(const std::string& address);

  std::string text(const std::string& address, const std::string& attribute) const;
  /* 0, or the errno of setting these together. */
  int try_set(const std::string& address, const std::string& one, const std::string& other = {});
  void attach_thread(const std::string& address, pid_t tid);

  static std::string mask(const Background& task);
  /* How many threads have which mask. */
  static std::map<std::string, int> masks_of(pid_t pid);
  /* The first member whose mask is not within what is in force; "" if there is none. */
  std::string outside(const std::string& address) const;

  std::string in_force(const std::string& address) const;
  void corrupt_in_force(const std::string& address, const std::string& list);
  /* As if a `set` had been killed when the list was changed and nobody placed. */
  void leave_change_half_done(const std::string& address, const std::string& list);
  /* ... an `attach` when the process was moved and nobody told. */
  void leave_attach_half_done(const std::string& address, pid_t pid);

 private:
  bool mount_v1() const; /* at root_; errno */
  static constexpr const char* kRootV2 = "/sys/fs/cgroup";
  std::string root_ = kRootV2; /* of the cgroup file system in use */
  bool had_v2_ = false; /* the cpuset controller was one of cgroup v2 before the test mounted it */
};

/* Ends the test here if `what` skipped it. */
#define NEED(what)           \
  do {                       \
    what;                    \
    if (IsSkipped()) return; \
  } while (0)

/* A line of /proc/PID/status. */
std::string status_of(pid_t pid, const std::string& key);
/* sched_setaffinity: 0 or errno. */
int set_mask(const std::string& list, pid_t tid = 0);
/* A word that forked children see. */
std::atomic<bool>* shared_flag();

/* A process with so many threads beside its first, all there. */
class Threads {
 public:
  explicit Threads(int count);
  pid_t pid() const { return process_.pid(); }
  std::vector<pid_t> tids() const;

 private:
  Background process_;
};

}  // namespace ctnbpf::test
