/* One placing of many tasks: passes over all tasks until one finds nothing to do. Internal to
 * placement. */
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ctnbpf/membership.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/placer.h"

namespace ctnbpf::placement {

class Work {
 public:
  using Chosen = std::function<bool(const ctn_walk_task&)>;

  /* `may_move`: also out of the groups of service managers. With `free`, as if nothing confined anybody. */
  static Result<Work> begin(Writer& writer, bool may_move, bool free = false);

  /* Those that are `freed` had their CPUs confined before: if they are not now, they get all. The first
   * error is returned after all that can be placed is. */
  Result<void> place(const Chosen& chosen, affinity::Fit fit, const Chosen& freed);

  /* Is it in a group of ours? */
  bool grouped(const ctn_walk_task& task) const;

 private:
  using Process = std::vector<const ctn_walk_task*>;

  Work(const Writer& writer, bool may_move);
  Placing of(const ctn_walk_task& task) const { return free_ ? Placing{} : placer_.of(task); }
  bool automatic(const Process& process) const;
  /* Puts a process into groups, or takes it out of ours. False: it is left to the affinity driver. */
  Result<bool> by_group(const Process& process);
  /* Makes a group, or writes its sets; once. */
  Result<void> set_up(const Groups& groups, const std::string& group, const Placing& to);
  Result<bool> take_out(pid_t pid);
  /* A mask was refused: says who has the CPUs, if somebody has. */
  Error with_owner(const Error& error, pid_t tid, const IndexSet& cpus) const;
  Result<void> by_affinity(const ctn_walk_task& task, affinity::Fit fit, bool fresh,
                           const Chosen& freed);

  const State& state_;
  std::span<std::uint32_t> moves_; /* how often a task was moved or placed; see t_newtask */
  bool may_move_;
  bool free_ = false;
  IndexSet cpus_online_;
  Placer placer_;
  std::optional<Groups> v2_;
  std::optional<Groups> v1_;
  std::set<std::string> set_up_;
  std::set<std::uint32_t> seen_;
  bool changed_ = false;
};

}  // namespace ctnbpf::placement
