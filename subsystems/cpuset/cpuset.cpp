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
#include "kernel/loading.h"
#include "placement/placement_ops.h"

namespace ctnbpf {
namespace {

using Ops = PlacementOps<kCpus>;

constexpr std::array kAttributes = {
    Ops::list(
        "CPUs the tasks may use: such as 0-3,6, all, 25% or 0-7:1/2; empty: those of the container "
        "above",
        "--cpus"),
    Ops::exclusive("1: no sibling may have any of these CPUs"),
    Ops::effective("CPUs the tasks use now: online ones, by the list that is in force"),
    Ops::how(),
    Ops::driver("how tasks are placed: cgroup2, cgroup1 or affinity"),
    Ops::strict(),
};

/* Beside its lists: the CPU masks that tasks had before they were placed. */
Result<void> load_arrays(Loading& loading) {
  CTN_TRY(placement::load_arrays(loading, kCpus.name));
  CTN_TRY(loading.size("came_with_masks", CAME_WITH_MASKS * place_words()));
  CTN_TRY(loading.size_key("came_with_numbers", place_words() * sizeof(__u64)));
  return loading.size("came_with_done", loading.facts.tasks);
}

}  // namespace

constinit const Subsystem kCpuset = [] {
  Subsystem it = Ops::subsystem("which CPUs the tasks of a container use", kAttributes);
  it.hooks = 1 << CTN_HOOKS_PLACE;
  it.level_from = CTN_HOOKS_PLACE;
  it.load = load_arrays;
  return it;
}();

}  // namespace ctnbpf
