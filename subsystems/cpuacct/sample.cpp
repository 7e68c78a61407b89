#include "cpuacct/sample.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "kernel/mapping.h"
#include "kernel/run_program.h"

namespace ctnbpf::cpuacct {
namespace {

/* The program that looks at a CPU, and where it puts what it found. */
class Looker {
 public:
  static Result<Looker> open(const State& state) {
    Looker looker;
    CTN_ASSIGN(looker.program_, state.pins().open_prog("s_look"));
    CTN_ASSIGN(looker.looks_,
               Mapping::open(state.pins(), "cpuacct_cpus", sizeof(cpuacct_look), ~0U, false));
    return looker;
  }

  std::uint32_t cpus() const { return looks_.size(); }

  /* Another reader may be looking at the same CPU, and its look replaces ours; it is as new. */
  Result<cpuacct_look> look(std::uint32_t cpu, std::int64_t clock, bool go_there) {
    std::array arguments{std::uint64_t{cpu}, static_cast<std::uint64_t>(clock)};
    const cpuacct_look& shared = looks_.as<cpuacct_look>()[cpu];
    for (int tries = 0; tries < kTries; tries++) {
      auto busy = run_program(program_, arguments, go_there ? static_cast<int>(cpu) : kAnyCpu);
      if (!busy && busy.error().code == ENXIO && go_there) { /* offline: from here */
        go_there = false;
        busy = run_program(program_, arguments, kAnyCpu);
      }
      if (!busy) return busy.error().within("look at a CPU");
      if (*busy != 0) continue;
      std::uint32_t looks = load(shared.looks);
      cpuacct_look copy;
      std::memcpy(&copy, &shared, sizeof(copy));
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      if (load(shared.looks) == looks && load(shared.busy) == 0 && copy.busy == 0) return copy;
    }
    return Error{EBUSY, "other readers keep looking at the CPUs: try again"};
  }

  /* Asking for one's own CPU time has the scheduler bring its clock up to date; what comes between
   * that and the look makes the difference larger, so the smallest of some is the best. */
  Result<std::int64_t> clock() {
    constexpr int kRounds = 4;
    auto best = std::numeric_limits<std::int64_t>::max();
    for (int round = 0; round < kRounds; round++) {
      timespec time = {};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      int cpu = ::sched_getcpu();
      if (cpu < 0 || static_cast<std::uint32_t>(cpu) >= cpus()) continue;
      CTN_ASSIGN(cpuacct_look found, look(static_cast<std::uint32_t>(cpu), 0, false));
      if (found.timed != 0) best = std::min<std::int64_t>(best, found.clock);
    }
    return best == std::numeric_limits<std::int64_t>::max() ? 0 : best;
  }

 private:
  static constexpr int kTries = 1000;
  UniqueFd program_;
  Mapping looks_;
};

/* The CPU writes the cell while we copy; the words of the window are to fit each other. */
cpuacct_cell copy_of(const cpuacct_cell& shared) {
  constexpr int kTries = 10;
  cpuacct_cell copy;
  for (int tries = 0; tries < kTries; tries++) {
    std::uint64_t end = load(shared.window_end);
    std::memcpy(&copy, &shared, sizeof(copy));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (load(shared.window_end) == end && copy.window_end == end && (end != 0 || copy.usage == 0))
      break;
  }
  return copy;
}

/* For kernels that do not show what a CPU's tasks used: what the ticks found, by CPU, the sum of all
 * at the end. */
std::vector<std::uint64_t> ticks_by_cpu(std::uint32_t cpus) {
  std::vector<std::uint64_t> out(cpus + 1);
  const std::uint64_t ns = 1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  std::ifstream file("/proc/stat");
  std::string name;
  for (std::string line; std::getline(file, line) && line.starts_with("cpu");) {
    std::istringstream words(line);
    std::uint64_t user = 0, nice = 0, system = 0, idle = 0, io = 0, irq = 0, softirq = 0;
    words >> name >> user >> nice >> system >> idle >> io >> irq >> softirq;
    std::size_t cpu = name == "cpu" ? cpus : std::strtoul(name.c_str() + 3, nullptr, 10);
    if (cpu <= cpus) out[cpu] = (user + nice + system + irq + softirq) * ns;
  }
  return out;
}

/* The kernel splits a task's time in this way for /proc/PID/stat and cpu.stat. */
std::uint64_t split(std::uint64_t usage, std::uint64_t system, std::uint64_t user) {
  if (system == 0) return 0;
  auto part = static_cast<long double>(system) / static_cast<long double>(system + user);
  return std::min(usage, static_cast<std::uint64_t>(static_cast<long double>(usage) * part));
}

/* What a task ran up to its move is charged by the clock; where that was a hair too much its next
 * charge takes it back, which may be the first of a new cell. */
std::uint64_t not_negative(std::uint64_t ns) { return static_cast<std::int64_t>(ns) < 0 ? 0 : ns; }

}  // namespace

Result<Sample> Sample::take(const State& state) {
  Sample sample(state);
  CTN_ASSIGN(Looker looker, Looker::open(state));
  CTN_ASSIGN(std::int64_t clock, looker.clock());
  for (std::uint32_t cpu = 0; cpu < looker.cpus(); cpu++) {
    CTN_ASSIGN(cpuacct_look look, looker.look(cpu, clock, true));
    sample.looks_.push_back(look);
  }
  for (const cpuacct_look& look : sample.looks_) sample.machine_ += look.machine;
  if (sample.machine_ == 0) {
    auto ticks = ticks_by_cpu(sample.cpus());
    for (std::uint32_t cpu = 0; cpu < sample.cpus(); cpu++) sample.looks_[cpu].machine = ticks[cpu];
    sample.machine_ = ticks.back();
  }
  CTN_ASSIGN(sample.cells_, state.records<cpuacct_cell>("cpuacct_cells", sample.cpus()));
  CTN_ASSIGN(sample.states_, state.records<cpuacct_state>("cpuacct"));
  return sample;
}

cpuacct_cell Sample::cell(Slot slot, std::uint32_t cpu) const {
  const cpuacct_look& look = looks_[cpu];
  cpuacct_cell cell;
  std::uint64_t running = 0;
  if (slot >= CTN_MAX_HIER && look.slot == slot) {
    cell = look.cell;
    running = not_negative(look.running);
    cell.system += look.running_system;
    cell.user += look.running_user;
  } else {
    cell = copy_of(cells_[std::size_t{slot} * cpus() + cpu]);
  }
  std::uint64_t before = cell.usage;
  cell.usage += running;
  if (look.timed == 0)
    cell.last_window = 0;
  else if (look.now >= cell.window_end)
    cpuacct_turn_window(&cell, look.now, running, before);
  cell.usage = not_negative(cell.usage);
  cell.last_window = not_negative(cell.last_window);
  return cell;
}

/* Most containers have not been on most CPUs. */
bool Sample::never_ran(Slot slot, std::uint32_t cpu) const {
  const cpuacct_cell& shared = cells_[std::size_t{slot} * cpus() + cpu];
  return load(shared.usage) == 0 && looks_[cpu].slot != slot;
}

bool Sample::never_ran(Slot slot) const {
  for (std::uint32_t cpu = 0; cpu < cpus(); cpu++)
    if (!never_ran(slot, cpu)) return false;
  return true;
}

cpuacct_cell Sample::sum(Slot slot) const {
  cpuacct_cell sum = {};
  for (std::uint32_t cpu = 0; cpu < cpus(); cpu++) {
    if (never_ran(slot, cpu)) continue;
    cpuacct_cell one = cell(slot, cpu);
    sum.usage += one.usage;
    sum.wait += one.wait;
    sum.system += one.system;
    sum.user += one.user;
    sum.last_window += one.last_window;
    for (int i = 0; i < CPUACCT_BUCKETS; i++) sum.slices[i] += one.slices[i];
  }
  return sum;
}

std::uint64_t system_of(const cpuacct_cell& cell) {
  return split(cell.usage, cell.system, cell.user);
}

std::uint64_t Sample::folded(Slot slot) const {
  const cpuacct_state& state = states_[slot];
  if (slot < CTN_MAX_HIER && state.epoch != state_->core().hierarchies[slot].created_ns) return 0;
  return load(load(state.folding) != 0 ? state.next : state.removed);
}

std::uint64_t Sample::usage(Slot slot) const {
  if (slot >= CTN_MAX_HIER) return sum(slot).usage;
  return not_negative(machine_ - totals()[slot].usage);
}

const std::vector<Sample::Total>& Sample::totals() const {
  if (totals_.empty()) add_up();
  return totals_;
}

/* A fold that comes between would be seen in part: then again. One that was left half done can be
 * read as it is, as `next` has what the child still shows. */
void Sample::add_up() const {
  constexpr int kTries = 10;
  auto nodes = state_->nodes();
  auto folds = [&] {
    std::uint64_t all = 0;
    for (Slot h = 0; h < CTN_MAX_HIER; h++) all += load(states_[h].folds);
    return all;
  };
  for (int tries = 0; tries < kTries; tries++) {
    std::uint64_t before = folds();
    totals_.assign(nodes.size(), {});
    for (Slot slot = 0; slot < nodes.size(); slot++) {
      if (load(nodes[slot].state) == CTN_FREE) continue;
      Total own;
      Slot parent = nodes[slot].parent;
      if (parent >= nodes.size()) continue;
      if (slot < CTN_MAX_HIER) {
        own.usage = folded(slot);
      } else if (never_ran(slot) && folded(slot) == 0) {
        continue;
      } else if (load(states_[parent].folding) != slot) {
        cpuacct_cell all = sum(slot);
        own = {all.usage + folded(slot), 0, all.last_window, system_of(all)};
      }
      totals_[slot].removed += folded(slot);
      Slot at = slot;
      for (int depth = 0; depth <= CTN_MAX_DEPTH && at < nodes.size();
           depth++, at = nodes[at].parent) {
        totals_[at].usage += own.usage;
        totals_[at].last_window += own.last_window;
        totals_[at].system += own.system;
        if (at < CTN_MAX_HIER) break;
        /* One that lingers is to be folded in, and counts as if it were. */
        if (load(nodes[at].state) == CTN_REMOVED && nodes[at].parent < nodes.size())
          totals_[nodes[at].parent].removed += own.usage;
      }
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (folds() == before) return;
  }
}

std::uint64_t Sample::total(Slot slot) const {
  std::uint64_t below = totals()[slot].usage;
  return slot >= CTN_MAX_HIER ? below : std::max(machine_, below);
}

Result<std::int64_t> measure_clock(const State& state) {
  CTN_ASSIGN(Looker looker, Looker::open(state));
  return looker.clock();
}

}  // namespace ctnbpf::cpuacct
