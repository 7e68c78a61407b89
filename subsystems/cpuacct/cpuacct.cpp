/* cpuacct: how much CPU time the tasks of a container used.
 *
 * `usage` is the time of the container's own tasks while they were in it; it stays behind when a
 * task moves. `total` is that of the subtree, removed children included: exactly usage + removed +
 * the total of each child. Both are in the kernel's own figures (those of /proc/PID/schedstat), with
 * the slice of each task that runs at this moment. Idle time is nobody's.
 *
 * A root's total is what all tasks of the machine used since it was started, and its usage what of
 * that no container had. Its other figures are not kept: they would cost every task of the machine.
 *
 * `system` is the part of `usage` that the kernel's tick found to be spent in the kernel, so it is
 * exact only over many ticks; `user` is the rest. A slice that is settled by a move counts as two. */
#include <fmt/format.h>

#include <array>

#include "kernel/loading.h"
#include "cpuacct/cpuacct_ops.h"
#include "cpuacct/meter.h"
#include "cpuacct/sample.h"
#include "kernel/mapping.h"

namespace ctnbpf {
namespace {

using cpuacct::Sample;

template <std::uint64_t (*kFigure)(const Sample&, Slot)>
Result<Value> read(const State& state, Slot slot) {
  CTN_ASSIGN(Sample sample, Sample::take(state));
  return Value{kFigure(sample, slot)};
}

std::uint64_t usage(const Sample& sample, Slot slot) { return sample.usage(slot); }
std::uint64_t total(const Sample& sample, Slot slot) { return sample.total(slot); }
std::uint64_t removed(const Sample& sample, Slot slot) { return sample.removed(slot); }
std::uint64_t wait(const Sample& sample, Slot slot) { return sample.sum(slot).wait; }

std::uint64_t system(const Sample& sample, Slot slot) {
  return cpuacct::system_of(sample.sum(slot));
}

std::uint64_t user(const Sample& sample, Slot slot) {
  cpuacct_cell sum = sample.sum(slot);
  return sum.usage - cpuacct::system_of(sum);
}

std::uint64_t switches(const Sample& sample, Slot slot) {
  std::uint64_t all = 0;
  for (std::uint64_t count : sample.sum(slot).slices) all += count;
  return all;
}

std::uint64_t load_of(const Sample& sample, Slot slot) {
  return cpuacct::load_percent(sample.last_window(slot));
}

Result<Value> read_percpu(const State& state, Slot slot) {
  CTN_ASSIGN(Sample sample, Sample::take(state));
  std::string text;
  for (std::uint32_t cpu = 0; cpu < sample.cpus(); cpu++)
    text += fmt::format("{}{}", cpu == 0 ? "" : " ",
                        slot < CTN_MAX_HIER ? sample.machine(cpu) : sample.cell(slot, cpu).usage);
  return Value{text};
}

/* "<16384 5, <32768 0, ... >=2097152 1" */
Result<Value> read_slices(const State& state, Slot slot) {
  CTN_ASSIGN(Sample sample, Sample::take(state));
  cpuacct_cell sum = sample.sum(slot);
  std::string text;
  for (int i = 0; i < CPUACCT_BUCKETS; i++) {
    bool last = i == CPUACCT_BUCKETS - 1;
    std::uint64_t bound = 1ULL << (CPUACCT_FIRST_BITS + i - (last ? 1 : 0));
    text += fmt::format("{}{}{} {}", i == 0 ? "" : ", ", last ? ">=" : "<", bound, sum.slices[i]);
  }
  return Value{text};
}

/* Places in a tombstone. */
enum Kept : std::uint8_t {
  kKeptTotal = 1,
  kKeptUsage,
  kKeptUser,
  kKeptSystem,
  kKeptWait,
  kKeptSwitches
};

constexpr std::array kAttributes = {
    Attribute{"usage", "ns of CPU time of this very container's tasks", read<usage>, nullptr,
              nullptr, CTN_LEVEL_NONE, kKeptUsage, nullptr, false, true},
    Attribute{"total", "ns of CPU time of the subtree, removed containers included", read<total>,
              nullptr, nullptr, CTN_LEVEL_NONE, kKeptTotal, nullptr, false, true},
    Attribute{"removed", "ns of `total` that removed containers used", read<removed>},
    Attribute{"usage_percpu", "`usage` by CPU; of a root: all that each CPU did", read_percpu},
    Attribute{"user", "ns of `usage` spent outside the kernel", read<user>, nullptr, nullptr,
              CTN_LEVEL_NONE, kKeptUser, nullptr, false, true},
    Attribute{"system", "ns of `usage` spent in the kernel, as its tick samples it", read<system>,
              nullptr, nullptr, CTN_LEVEL_NONE, kKeptSystem, nullptr, false, true},
    Attribute{"wait", "ns that tasks of this container were ready and waited for a CPU", read<wait>,
              nullptr, nullptr, CTN_LEVEL_NONE, kKeptWait, nullptr, false, true},
    Attribute{"switches", "how often a CPU switched away from a task of this container",
              read<switches>, nullptr, nullptr, CTN_LEVEL_NONE, kKeptSwitches},
    Attribute{"load", "percent of one CPU the subtree used in the last full 10 s", read<load_of>},
    Attribute{"slices", "switches by the ns the task had run: below each bound, and the rest",
              read_slices},
};

Result<void> create(Writer& writer, Slot slot) {
  std::uint32_t cpus = writer.core().cpus;
  CTN_ASSIGN(auto cells, writer.records<cpuacct_cell>("cpuacct_cells", cpus));
  CTN_ASSIGN(auto states, writer.records<cpuacct_state>("cpuacct"));
  for (std::uint32_t cpu = 0; cpu < cpus; cpu++) cells[std::size_t{slot} * cpus + cpu] = {};
  states[slot] = {};
  return {};
}

/* What the container used goes to its parent. May be done again by whoever finds it half done: up to
 * `folding` nothing has happened, from then on `next` has it all, and at the end nothing is left
 * here to fold in. */
void destroy(Writer& writer, Slot slot) {
  std::uint32_t cpus = writer.core().cpus;
  auto cells = writer.records<cpuacct_cell>("cpuacct_cells", cpus);
  auto states = writer.records<cpuacct_state>("cpuacct");
  if (!cells || !states) return; /* only with the pins of another version, which open() refuses */
  const ctn_node& node = writer.nodes()[slot];
  cpuacct_state& parent = (*states)[node.parent];
  cpuacct_state& root = (*states)[node.hierarchy];
  if (std::uint64_t epoch = writer.core().hierarchies[node.hierarchy].created_ns;
      root.epoch != epoch) {
    store(root.removed, __u64{0});
    root.folding = 0;
    store(root.epoch, static_cast<__u64>(epoch));
  }
  if ((root.folds & 1) == 0) store(root.folds, root.folds + 1);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  if (parent.folding != slot) {
    std::uint64_t used = (*states)[slot].removed;
    for (std::uint32_t cpu = 0; cpu < cpus; cpu++)
      used += (*cells)[std::size_t{slot} * cpus + cpu].usage;
    parent.next = parent.removed + used;
    store(parent.folding, slot); /* the commit */
  }
  for (std::uint32_t cpu = 0; cpu < cpus; cpu++)
    store((*cells)[std::size_t{slot} * cpus + cpu].usage, __u64{0});
  store((*states)[slot].removed, __u64{0});
  store(parent.removed, parent.next);
  store(parent.folding, 0U);
  store(root.folds, root.folds + 1);
}

/* Nothing of it runs, and its children are folded in: memory has it all. */
void last_words(const State& state, Slot slot, std::span<__u64> kept) {
  std::uint32_t cpus = state.core().cpus;
  auto cells = state.records<cpuacct_cell>("cpuacct_cells", cpus);
  auto states = state.records<cpuacct_state>("cpuacct");
  if (!cells || !states) return;
  cpuacct_cell sum = {};
  std::uint64_t slices = 0;
  for (std::uint32_t cpu = 0; cpu < cpus; cpu++) {
    const cpuacct_cell& cell = (*cells)[std::size_t{slot} * cpus + cpu];
    sum.usage += cell.usage;
    sum.system += cell.system;
    sum.user += cell.user;
    sum.wait += cell.wait;
    for (std::uint64_t count : cell.slices) slices += count;
  }
  std::uint64_t in_kernel = cpuacct::system_of(sum);
  kept[kKeptTotal - 1] = sum.usage + (*states)[slot].removed;
  kept[kKeptUsage - 1] = sum.usage;
  kept[kKeptUser - 1] = sum.usage - in_kernel;
  kept[kKeptSystem - 1] = in_kernel;
  kept[kKeptWait - 1] = sum.wait;
  kept[kKeptSwitches - 1] = slices;
}

/* The programs charge a task that is moved while it runs by the difference of these clocks. Without
 * it they charge up to its last tick. */
Result<void> can_attach(const State& state, Slot, std::uint64_t) {
  CTN_ASSIGN(std::int64_t clock, cpuacct::measure_clock(state));
  CTN_ASSIGN(Mapping shared, Mapping::open(state.pins(), "cpuclock", sizeof(clock), 1, true));
  store(shared.as<std::int64_t>()[0], clock);
  return {};
}

Result<void> load_arrays(Loading& loading) {
  const Loading::Facts& facts = loading.facts;
  CTN_TRY(loading.size("cpuacct", facts.slots));
  CTN_TRY(loading.size("cpuacct_cells", facts.slots * facts.cpus));
  return loading.size("cpuacct_cpus", facts.cpus);
}

}  // namespace

const Subsystem kCpuacct = {
    .id = CTN_CPUACCT,
    .name = "cpuacct",
    .help = "how much CPU time the tasks of a container used",
    .attributes = kAttributes,
    .hooks = 1 << CTN_HOOKS_SWITCH,
    .level_from = CTN_HOOKS_SWITCH,
    .minimum = CTN_LEVEL_ACCOUNTING,
    .load = load_arrays,
    .create = create,
    .destroy = destroy,
    .can_attach = can_attach,
    .figures = nullptr,
    .check = nullptr,
    .last_words = last_words,
    .meter = cpuacct::make_meter,
};

}  // namespace ctnbpf
