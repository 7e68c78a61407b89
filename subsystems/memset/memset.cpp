/* memset: which memory nodes the tasks of a container use.
 *
 * `mems` follows the rules of cpuset.cpus (cpuset.cpp), `mem_exclusive` those of cpu_exclusive. What
 * tasks allocate from then on comes from the set; pages they have already stay where they are, or
 * move there if `memory_migrate` is 1. The two subsystems can be bound to one hierarchy or to two; a task
 * gets the CPUs of one and the nodes of the other. */
#include "memset/memset.h"

#include <unistd.h>

#include <array>

#include "memset/memset_ops.h"
#include "placement/affinity.h"
#include "placement/placement_ops.h"

namespace ctnbpf {
namespace {

using Ops = PlacementOps<kNodes>;

constexpr std::array kAttributes = {
    Attribute{"mems", "memory nodes to allocate from: a list such as 0-1; empty: those of the container above",
              Ops::read_list, Ops::prepare_list, "--mems"},
    Attribute{"mem_exclusive", "1: no sibling may have any of these nodes", Ops::read_flag<PLACE_EXCLUSIVE>,
              Ops::prepare_exclusive},
    Attribute{"memory_migrate", "1: pages of tasks move with the set, and when they come",
              Ops::read_flag<PLACE_MIGRATE>, placement::prepare_migrate},
    Attribute{"effective_mems", "nodes in use now: those with memory, by the list that is in force",
              Ops::read_effective},
    Attribute{.name = "placement",
              .help = "of a root without containers: auto, cgroup or affinity",
              .read = Ops::read_placement,
              .prepare = Ops::prepare_placement,
              .hierarchy_option = "--placement"},
    Attribute{"driver", "how memory is placed: cgroup2, cgroup1 or affinity (memory policy)", Ops::read_driver},
    Attribute{.name = "strict",
              .help = "of a root; 1: no task may come to a container whose list is empty",
              .read = Ops::read_strict,
              .prepare = Ops::prepare_strict,
              .hierarchy_option = "--strict-cpusets",
              .flag = true},
};

Result<std::string> before_exec(const State& state, Slot slot) {
  CTN_ASSIGN(Placer placer, Placer::open(state));
  Placing to = placer.at(0, slot);
  return to.mems.confined ? to.mems.set.to_string() : std::string();
}

/* Where no group confines it, a command takes its memory policy along. */
void in_command(const std::string& nodes) {
  for (Groups::Version version : {Groups::Version::kV2, Groups::Version::kV1})
    if (auto groups = Groups::open(version); groups && groups->group_of(::getpid())) return;
  if (auto set = parse_index_set("memset.mems", nodes, PLACE_MAX_NODES)) (void)affinity::bind_memory(*set);
}

}  // namespace

const Subsystem kMemset = {
    .id = CTN_MEMSET,
    .name = "memset",
    .help = "which memory nodes the tasks of a container use",
    .attributes = kAttributes,
    .hooks = 0,
    .level_from = CTN_HOOKS_TASK,
    .minimum = CTN_LEVEL_ACCOUNTING,
    .bind = Ops::bind,
    .create = Ops::create,
    .removed = Ops::removed,
    .check = Ops::check,
    .repair = Ops::repair,
    .unbind = Ops::unbind,
    .attach = Ops::attach,
    .admit = Ops::admit,
    .settle = Ops::settle,
    .refresh = Ops::refresh,
    .release = Ops::release,
    .before_exec = before_exec,
    .in_command = in_command,
    .note = Ops::note,
    .ways = Ops::ways,
};

}  // namespace ctnbpf
