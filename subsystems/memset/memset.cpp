/* memset: which memory nodes the tasks of a container use.
 *
 * `mems` follows the rules of cpuset.cpus (cpuset.cpp), `mem_exclusive` those of cpu_exclusive. What
 * tasks allocate from then on comes from the set; pages they have already stay where they are, or
 * move there if `memory_migrate` is 1. The two subsystems can be bound to one hierarchy or to two; a task
 * gets the CPUs of one and the nodes of the other. */
#include "memset/memset.h"

#include <unistd.h>

#include <array>

#include "ctnbpf/attributes.h"
#include "memset/memset_ops.h"
#include "placement/affinity.h"
#include "placement/placement_ops.h"

namespace ctnbpf {
namespace {

using Ops = PlacementOps<kNodes>;

constexpr std::array kAttributes = {
    Ops::list(
        "memory nodes to allocate from: such as 0-1 or all; empty: those of the container above",
        "--mems"),
    Ops::exclusive("1: no sibling may have any of these nodes"),
    Attribute{
        .name = "memory_migrate",
        .help = "1: pages of tasks move with the set, and when they come",
        .read = Ops::read_flag<PLACE_MIGRATE>,
        .prepare = placement::prepare_migrate,
        .on = On::kContainer,
        .initial = "0",
        .normal =
            [](const std::string& text) { return normal_flag("memset.memory_migrate", text); }},
    Ops::effective("nodes in use now: those with memory, by the list that is in force"),
    Ops::how(),
    Ops::driver("how memory is placed: cgroup2, cgroup1 or affinity (memory policy)"),
    Ops::strict(),
};

Result<std::string> before_exec(const State& state, Slot slot) {
  CTN_ASSIGN(Placer placer, Placer::open(state));
  Placing to = placer.at(0, slot);
  return to.mems.confined ? to.mems.set.to_string() : std::string();
}

/* Where no group confines it, a command takes its memory policy along. */
void in_command(const std::string& nodes) {
  if (Groups::holds(::getpid())) return;
  if (auto set = parse_index_set("memset.mems", nodes, PLACE_MAX_NODES))
    (void)affinity::bind_memory(*set);
}

}  // namespace

constinit const Subsystem kMemset = [] {
  Subsystem it = Ops::subsystem("which memory nodes the tasks of a container use", kAttributes);
  it.hooks = 1 << CTN_HOOKS_PLACE;
  it.before_exec = before_exec;
  it.in_command = in_command;
  return it;
}();

}  // namespace ctnbpf
