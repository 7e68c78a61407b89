/* Groups of the kernel's cpuset controller, below one group of ours at the top of the cgroup tree. Cgroup
 * v2, or the v1 controller.
 *
 *   /ctnbpf/from-4711/cpus-9-mems-12
 *
 * First the *home*: by the inode of the group its processes came from, whose path it keeps in an extended
 * attribute, so that they, and those they fork, can go back. Below it one group for each pair in use. In
 * v2 these are threaded, so that threads of one process can be in different ones; the process as a whole is
 * then in the home, and its unconfined threads are in that itself.
 *
 * A group is named here by its path below `ctnbpf`. */
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/result.h"
#include "placement/index_set.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {

class Pins;
class State;
struct PlaceKind;

/* While it lives, this process may take members out of their groups: the kernel side keeps all others from
 * it. Nesting ends it early. */
class MayMove {
 public:
  explicit MayMove(const Pins& pins);
  ~MayMove();
  MayMove(const MayMove&) = delete;
  MayMove& operator=(const MayMove&) = delete;

 private:
  UniqueFd program_;
};

class Groups {
 public:
  enum class Version { kV2, kV1 };

  /* Is there a cpuset controller of this version to be had? */
  static bool available(Version version);
  /* Those of this instance: below `ctnbpf`, or `ctnbpf-N` (core.groups). Looks only; nothing is made.
   * ENOTSUP if the controller is not available. */
  static Result<Groups> open(Version version, const State& state);
  /* Those of instances that are gone: their pins went with the mount namespace they were in. `state` is of
   * whoever asks. */
  static Result<std::vector<Groups>> abandoned(Version version, const State& state);
  /* Is the task in a group of any instance? */
  static bool holds(pid_t tid);

  /* The home of a process that is in none: made, if need be. ESRCH: the process is gone. */
  Result<std::string> make_home(pid_t pid) const;
  /* Of a group: the home it is, or is in. Empty: none. */
  static std::string home_of(const std::string& group);
  /* Makes the group, or sets it to these: at once for all that are in it. An empty set is what the group
   * above has. */
  Result<void> set(const std::string& group, const IndexSet& cpus, const IndexSet& mems,
                   bool migrate) const;
  /* "" is `ctnbpf` itself; none: the task is outside of it, or gone. */
  std::optional<std::string> group_of(pid_t tid) const;
  /* Why a task outside of our groups is to be left in its own: it is one that systemd or a container engine
   * made for one service or session, or it binds those in it in some way. Empty: nothing is lost. */
  std::string kept_by(pid_t tid) const;
  /* Puts a whole process, or a thread of a process that is in that home, into a group. ESRCH: gone. */
  Result<void> put_process(const std::string& group, pid_t pid) const;
  Result<void> put_thread(const std::string& group, pid_t tid) const;
  /* Takes a process out, back to where it came from; if that is gone, or takes no process now, to the
   * nearest group above it that does. */
  Result<void> take_out(pid_t pid) const;

  /* Groups in the homes, the homes after them, and `ctnbpf` itself, "", whether it is there or not. */
  std::vector<std::string> all() const;
  /* What the kernel gives who is in the group `path`, as called from the root of the tree, or in the nearest
   * above that has a cpuset. */
  IndexSet granted(const PlaceKind& kind, const std::string& path) const;
  /* A group outside of ours, from the root of the tree, that has some of these for itself alone; or "". */
  std::string exclusive_owner(const PlaceKind& kind, const IndexSet& some) const;
  /* Where a task is, from the root of the tree. Empty: it is gone. */
  std::string path_of(pid_t tid) const;

  /* Threads in a group; "" for those in `ctnbpf` itself. */
  std::vector<pid_t> threads(const std::string& group) const;
  /* What the group has: its file's text. */
  std::string cpus(const std::string& group) const;
  std::string mems(const std::string& group) const;
  /* As it is called from the root of the cgroup tree: "/ctnbpf/from-1". */
  std::string full_name(const std::string& group) const {
    return "/" + name_ + (group.empty() ? "" : "/") + group;
  }
  /* Of `ctnbpf`; 0 while there is none. */
  std::uint64_t top_inode() const;
  /* Removes those that nobody is in, and `ctnbpf` with the last. */
  void remove_empty() const;

  /* v2: is the controller on for the groups at the top because we switched it on? */
  bool switched_on() const;
  /* Switches it off, if that was us, no group uses it, and no task minds. Stays ours as long as one does. */
  void switch_off() const;
  /* A task would get all CPUs again if the controller were switched over for the groups at the top: EBUSY,
   * and which. */
  Result<void> nobody_minds() const;

 private:
  Groups(Version version, std::string root, std::string name, std::string pins)
      : version_(version), root_(std::move(root)), name_(std::move(name)), pins_(std::move(pins)) {}
  std::string top() const { return root_ + "/" + name_; }
  std::string path(const std::string& group) const {
    return group.empty() ? top() : top() + "/" + group;
  }
  Result<void> make_top() const;
  Result<void> switch_on(const std::string& directory) const;
  IndexSet taken_v1(const PlaceKind& kind) const;
  Result<void> inherit(const std::string& directory, const std::string& above) const;
  const char* threads_file() const {
    return version_ == Version::kV2 ? "/cgroup.threads" : "/tasks";
  }

  Version version_;
  std::string root_;                                   /* where the file system is mounted */
  std::string name_;                                   /* of the group at the top */
  std::string pins_;                                   /* of whoever asks, for its iterators */
  mutable std::map<std::string, std::string> kept_by_; /* by path */
  mutable std::optional<Error> refused_; /* by nobody_minds(): not asked again for each process */
};

}  // namespace ctnbpf
