/* cpuset: which CPUs the tasks of a container use.
 *
 * `cpus` is a list; empty means that of the container above. It lies within that of the container
 * above (EACCES), has at least one CPU that is online (EINVAL), and cannot become less than a
 * container below has (EBUSY). With `cpu_exclusive`, which needs a parent that has it (EACCES) and stays
 * while a child has it (EBUSY), it meets no sibling's (EINVAL). Tasks are placed when they come, and all
 * at once when the list changes, threads included; children are where their forker is. A member
 * cannot leave its CPUs.
 *
 * Where none of the list is online, the nearest container above with one online lends its own;
 * `cpus` stays, `effective_cpus` shows it, and when one comes back it is used again. How tasks are
 * placed: placement/place.h. */
#include "cpuset/cpuset.h"

#include <array>

#include "cpuset/cpuset_ops.h"
#include "placement/placement_ops.h"

namespace ctnbpf {
namespace {

using Ops = PlacementOps<kCpus>;

constexpr std::array kAttributes = {
    Attribute{"cpus", "CPUs the tasks may use: a list such as 0-3,6; empty: those of the container above",
              Ops::read_list, Ops::prepare_list, "--cpus"},
    Attribute{"cpu_exclusive", "1: no sibling may have any of these CPUs", Ops::read_flag<PLACE_EXCLUSIVE>,
              Ops::prepare_exclusive},
    Attribute{"effective_cpus", "CPUs the tasks use now: online ones, by the list that is in force",
              Ops::read_effective},
    Attribute{.name = "placement",
              .help = "of a root without containers: auto, cgroup or affinity",
              .read = Ops::read_placement,
              .prepare = Ops::prepare_placement,
              .hierarchy_option = "--placement"},
    Attribute{"driver", "how tasks are placed: cgroup2, cgroup1 or affinity", Ops::read_driver},
    Attribute{.name = "strict",
              .help = "of a root; 1: no task may come to a container whose list is empty",
              .read = Ops::read_strict,
              .prepare = Ops::prepare_strict,
              .hierarchy_option = "--strict-cpusets",
              .flag = true},
};

}  // namespace

const Subsystem kCpuset = {
    .id = CTN_CPUSET,
    .name = "cpuset",
    .help = "which CPUs the tasks of a container use",
    .attributes = kAttributes,
    .hooks = 1 << CTN_HOOKS_PLACE,
    .level_from = CTN_HOOKS_PLACE,
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
    .note = Ops::note,
    .ways = Ops::ways,
};

}  // namespace ctnbpf
