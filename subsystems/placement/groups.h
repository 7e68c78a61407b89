/* Groups of the kernel's cpuset controller: one for each pair in use, all below one group of ours,
 * `ctnbpf` at the top of the cgroup tree. Cgroup v2, or the v1 controller.
 *
 * In v2 they are threaded groups, so that threads of one process can be in different ones; the process
 * as a whole is then below `ctnbpf`, and its unconfined threads are in `ctnbpf` itself. */
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/result.h"
#include "placement/index_set.h"

namespace ctnbpf {

inline constexpr const char* kGroupName = "ctnbpf";

class Groups {
 public:
  enum class Version { kV2, kV1 };

  /* Is there a cpuset controller of this version to be had? */
  static bool available(Version version);
  /* Looks only; nothing is made. ENOTSUP if it is not available. */
  static Result<Groups> open(Version version);

  /* Makes the group, or sets it to these: at once for all that are in it. An empty set is what the group
   * above has. */
  Result<void> set(const std::string& group, const IndexSet& cpus, const IndexSet& mems, bool migrate) const;
  /* "" is `ctnbpf` itself; none: the task is outside of it, or gone. */
  std::optional<std::string> group_of(pid_t tid) const;
  /* Is it in a group that systemd or a container engine made for one service or session? v1: never. */
  bool managed(pid_t tid) const;
  /* Puts a whole process, or a thread of a process that is below `ctnbpf`, into a group. ESRCH: gone. */
  Result<void> put_process(const std::string& group, pid_t pid) const;
  Result<void> put_thread(const std::string& group, pid_t tid) const;
  /* Takes a process out, to the top of the cgroup tree. */
  Result<void> take_out(pid_t pid) const;

  std::vector<std::string> all() const;
  /* Threads in a group; "" for those in `ctnbpf` itself. */
  std::vector<pid_t> threads(const std::string& group) const;
  /* What the group has: its file's text. */
  std::string cpus(const std::string& group) const;
  std::string mems(const std::string& group) const;
  /* False while something is in it. */
  bool remove(const std::string& group) const;
  /* Of `ctnbpf`; 0 while there is none. */
  std::uint64_t top_inode() const;
  /* Removes `ctnbpf`, if it is empty. */
  void remove_top() const;

 private:
  Groups(Version version, std::string root) : version_(version), root_(std::move(root)) {}
  std::string top() const { return root_ + "/" + kGroupName; }
  std::string path(const std::string& group) const { return group.empty() ? top() : top() + "/" + group; }
  Result<void> make_top() const;
  std::string path_of(pid_t tid) const;
  const char* threads_file() const { return version_ == Version::kV2 ? "/cgroup.threads" : "/tasks"; }

  Version version_;
  std::string root_; /* where the file system is mounted */
};

}  // namespace ctnbpf
