/* One placing of many tasks: passes over all tasks until one finds nothing to do. Internal to
 * placement. */
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ctnbpf/membership.h"
#include "placement/affinity.h"
#include "placement/earlier.h"
#include "placement/groups.h"
#include "placement/placer.h"

namespace ctnbpf::placement {

/* What becomes of a CPU mask that is less than the set. */
enum class Fit {
  kWhole, /* it is to be the whole set: the task comes */
  kKeep, /* if it lies inside, and was less than all of the set before, it is the task's own choice */
};

/* What becomes of the others when the machine refuses one. */
enum class OnError {
  kGoOn, /* all that can be placed is */
  kStop, /* nobody else is touched, and those that were can be put back */
};

class Work {
 public:
  using Chosen = std::function<bool(const ctn_walk_task&)>;

  /* `may_move`: also out of the groups of service managers. With `free`, as if nothing confined anybody. */
  static Result<Work> begin(Writer& writer, bool may_move, bool free = false);

  /* Whoever is confined no more gets the CPUs back that it had before, chosen or not. The first error is
   * returned. */
  Result<void> place(const Chosen& chosen, Fit fit, OnError on_error = OnError::kGoOn);
  /* Masks that place() has changed are as they were. */
  void put_back();

  /* Is it in a group of ours? */
  bool grouped(const ctn_walk_task& task) const;

 private:
  using Process = std::vector<const ctn_walk_task*>;

  Work(Writer& writer, bool may_move);
  Placing of(const ctn_walk_task& task) const { return free_ ? Placing{} : placer_.of(task); }
  bool automatic(const Process& process) const;
  /* Until every call that may still store a mask by what was in force before has ended. */
  Result<void> wait_for_setters();
  /* Those first that the kernel may refuse to place: it is asked before anybody else is moved. */
  std::vector<std::uint32_t> in_order(const std::set<std::uint32_t>& touched,
                                      const std::map<std::uint32_t, Process>& processes) const;
  Result<void> place_process(const Process& process, const Chosen& chosen, Fit fit, int pass);
  /* Puts a process into groups, or takes it out of ours. False: it is left to the affinity driver. */
  Result<bool> by_group(const Process& process);
  /* Makes a group, or writes its sets; once. */
  Result<void> set_up(const Groups& groups, const std::string& group, const Placing& to);
  /* A mask was refused: says who has the CPUs, if somebody has. */
  Error with_owner(const Error& error, pid_t tid, const IndexSet& cpus) const;
  Result<void> take_out(pid_t pid);
  /* Is it all that the kernel granted of a set that tasks were placed by? */
  bool is_whole(const IndexSet& mask, const IndexSet& placed) const;
  /* Sets a mask by our own rules. */
  Result<void> set_mask(pid_t tid, const IndexSet& set, const std::optional<IndexSet>& before);
  Result<void> fit_mask(const ctn_walk_task& task, const Placing& to, bool in_group, Fit fit,
                        bool fresh, const std::optional<IndexSet>& before);
  /* That of a task which no list confines any more. */
  Result<void> give_back(const ctn_walk_task& task);
  bool came_out(const ctn_walk_task& task) const {
    return task.came_with != 0 && !of(task).cpus.confined;
  }

  Writer& writer_;
  const State& state_;
  std::span<std::uint32_t> moves_; /* how often a task was moved or placed; see t_newtask */
  bool may_move_;
  bool free_ = false;
  IndexSet cpus_online_;
  IndexSet cpus_before_; /* online when tasks were last placed */
  Placer placer_;
  std::optional<Earlier> earlier_; /* none: cpuset is not bound */
  std::map<pid_t, IndexSet> were_; /* masks that were changed */
  std::vector<pid_t> given_back_;  /* in this pass */
  std::optional<Groups> v2_;
  std::optional<Groups> v1_;
  std::set<std::string> set_up_;
  std::set<std::uint32_t> seen_;
  bool changed_ = false;
};

}  // namespace ctnbpf::placement
