#include "service/fsck_counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tree/members.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "kernel/object_table.h"
#include "kernel/steady.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

std::vector<KernelTable> tables() {
  std::vector<KernelTable> all{{"task", sizeof(ctn_task)}};
  for (const Subsystem* subsystem : subsystems())
    all.insert(all.end(), subsystem->tables.begin(), subsystem->tables.end());
  return all;
}

std::string name(const State& state, Slot slot) { return printable(tree::address_of(state, slot)); }

/* What the records of tasks say. */
struct Recorded {
  std::vector<std::uint64_t> population; /* of each slot */
  std::map<const Subsystem*, std::vector<std::uint64_t>>
      charged;              /* likewise, by those that charge tasks */
  std::vector<Slot> unused; /* named by a record, and not in use */
  UnmetTasks unmet;         /* of the last mark_tasks() */
};

Result<Recorded> read_records(const State& state) {
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(state.pins(), "task", sizeof(ctn_task), false));
  auto nodes = state.nodes();
  auto mark = static_cast<std::uint8_t>(load(state.core().walk_mark));
  /* Where nobody sees it reaped, a task is charged until it is freed: up to 10 s where RCU is lazy
   * (CONFIG_RCU_LAZY). */
  bool reaped_is_seen = state.core().level[CTN_HOOKS_REAP] != CTN_LEVEL_NONE;
  Recorded out;
  out.population.resize(nodes.size());
  for (const Subsystem* subsystem : subsystems())
    if (subsystem->charged != nullptr) out.charged[subsystem].resize(nodes.size());
  tasks.each<ctn_task>([&](std::uint64_t address, const ctn_task& task) {
    bool met = load(task.seen) == mark;
    for (const __u32& word : task.slot) {
      std::uint32_t seen = load(word);
      Slot slot = seen & ~CTN_EXITED;
      if (slot < CTN_MAX_HIER) continue;
      if (slot >= nodes.size() || load(nodes[slot].state) == CTN_FREE) {
        out.unused.push_back(slot);
        continue;
      }
      bool live = (seen & CTN_EXITED) == 0;
      out.population[slot] += live ? CTN_ONE_RECORD + CTN_ONE_LIVE : CTN_ONE_RECORD;
      if (live && !met) out.unmet[address] = slot;
    }
    for (auto& [subsystem, charges] : out.charged) {
      Slot charged = subsystem->charged(task);
      if (charged < CTN_MAX_HIER || charged >= nodes.size()) continue;
      charges[charged]++;
      if (reaped_is_seen && !met) out.unmet[address] = charged;
    }
  });
  return out;
}

/* `refs` of each slot as those that hold references make it. */
Result<std::vector<std::uint32_t>> references(const State& state) {
  std::vector<std::uint32_t> sums(state.nodes().size());
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->references_held == nullptr) continue;
    CTN_ASSIGN(auto held, subsystem->references_held(state));
    for (Slot slot = 0; slot < sums.size() && slot < held.size(); slot++) sums[slot] += held[slot];
  }
  return sums;
}

/* Does everybody who may hold references there say which? */
bool references_are_known(const State& state, Slot slot) {
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy))
    if (subsystem->references != nullptr && subsystem->references_held == nullptr) return false;
  return true;
}

Result<std::vector<std::uint64_t>> population_differences(const State& state) {
  CTN_ASSIGN(Recorded recorded, read_records(state));
  std::vector<std::uint64_t>& off = recorded.population;
  for (Slot slot = 0; slot < off.size(); slot++)
    off[slot] = state.nodes()[slot].state == CTN_FREE
                    ? 0
                    : off[slot] - load(state.nodes()[slot].population);
  return off;
}

Result<std::vector<std::uint32_t>> reference_differences(const State& state) {
  CTN_ASSIGN(auto off, references(state));
  for (Slot slot = 0; slot < off.size(); slot++) {
    bool known = slot >= CTN_MAX_HIER && state.nodes()[slot].state != CTN_FREE &&
                 references_are_known(state, slot);
    off[slot] = known ? off[slot] - load(state.nodes()[slot].refs) : 0;
  }
  return off;
}

Result<void> compare_with_tasks(Writer& writer, Look& look) {
  CTN_TRY(mark_tasks(writer));
  CTN_ASSIGN(Recorded recorded, read_records(writer));
  look.unmet = std::move(recorded.unmet);
  for (Slot slot : recorded.unused)
    look.complaints.push_back(fmt::format("a task is in slot {}, which is not in use", slot));
  for (Slot slot = CTN_MAX_HIER; slot < recorded.population.size(); slot++) {
    const ctn_node& node = writer.nodes()[slot];
    std::uint64_t counted = load(node.population);
    std::uint64_t found = recorded.population[slot];
    if (node.state == CTN_FREE || counted == found) continue;
    look.complaints.push_back(
        fmt::format("{}: counts {} live tasks and {} records, the table of tasks has {} and {}",
                    name(writer, slot), counted >> 32, static_cast<std::uint32_t>(counted),
                    found >> 32, static_cast<std::uint32_t>(found)));
  }
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->check == nullptr || load(writer.core().bound[subsystem->id]) == 0) continue;
    auto charged = recorded.charged.find(subsystem);
    CTN_ASSIGN(auto wrong,
               subsystem->check(writer, charged == recorded.charged.end()
                                            ? std::span<const std::uint64_t>()
                                            : std::span<const std::uint64_t>(charged->second)));
    look.complaints.insert(look.complaints.end(), wrong.begin(), wrong.end());
  }
  return {};
}

Result<void> compare_references(const State& state, std::vector<std::string>& found) {
  CTN_ASSIGN(auto refs, reference_differences(state));
  for (Slot slot = CTN_MAX_HIER; slot < refs.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.state == CTN_FREE) continue;
    if (refs[slot] != 0)
      found.push_back(fmt::format("{}: counts {} references, its subsystems hold {}",
                                  name(state, slot), load(node.refs),
                                  load(node.refs) + refs[slot]));
    bool full = live_tasks(node) != 0 || load(node.refs) != 0;
    if (full && load(node.armed) == 0)
      found.push_back(fmt::format("{}: would not tell when it becomes empty", name(state, slot)));
  }
  return {};
}

/* By how much `lent` of each table is off: it is what containers have beyond their own. */
std::vector<std::uint64_t> lending_differences(const State& state) {
  const auto& lending = state.core().lending;
  std::vector<std::uint64_t> off(CTN_LEND_NR);
  auto beyond = [](std::uint64_t has, std::uint64_t own) { return has > own ? has - own : 0; };
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (load(node.state) == CTN_FREE) continue;
    off[CTN_LEND_TASKS] += beyond(task_records(node), lending[CTN_LEND_TASKS].own);
    off[CTN_LEND_FILES] += beyond(load(node.refs), lending[CTN_LEND_FILES].own);
  }
  for (std::size_t i = 0; i < off.size(); i++) off[i] -= load(lending[i].lent);
  return off;
}

constexpr std::array kLent = {"task records", "references"};

void compare_lending(const State& state, std::vector<std::string>& found) {
  auto off = lending_differences(state);
  for (std::size_t i = 0; i < off.size(); i++)
    if (std::uint64_t lent = load(state.core().lending[i].lent); off[i] != 0)
      found.push_back(fmt::format("{} {} count as lent, containers have {} beyond their own", lent,
                                  kLent[i], lent + off[i]));
}

Result<void> compare_tables(const State& state, std::vector<std::string>& found) {
  for (const KernelTable& one : tables()) {
    CTN_ASSIGN(ObjectTable table,
               ObjectTable::open(state.pins(), one.name, one.record_size, false));
    auto off = table.wrong_counts();
    auto wrong =
        std::count_if(off.begin(), off.end(), [](std::uint32_t each) { return each != 0; });
    if (wrong != 0)
      found.push_back(
          fmt::format("the table of {}s: {} counts of its places are wrong", one.name, wrong));
  }
  return {};
}

}  // namespace

Result<Look> compare_counts(Writer& writer) {
  Look look;
  CTN_TRY(compare_with_tasks(writer, look));
  CTN_TRY(compare_references(writer, look.complaints));
  CTN_TRY(compare_tables(writer, look.complaints));
  compare_lending(writer, look.complaints);
  return look;
}

/* What is off is added: a store would lose what programs do at the same time. */
Result<std::vector<std::string>> repair_counts(Writer& writer) {
  std::vector<std::string> mended;
  for (const KernelTable& one : tables()) {
    CTN_ASSIGN(ObjectTable table,
               ObjectTable::open(writer.pins(), one.name, one.record_size, true));
    CTN_ASSIGN(auto off, steady_differences<std::uint32_t>([&] {
                 return Result<std::vector<std::uint32_t>>(table.wrong_counts());
               }));
    if (std::size_t wrong = table.correct_counts(off); wrong != 0)
      mended.push_back(fmt::format("corrected {} counts in the table of {}s", wrong, one.name));
  }
  CTN_ASSIGN(auto population,
             steady_differences<std::uint64_t>([&] { return population_differences(writer); }));
  CTN_ASSIGN(auto refs,
             steady_differences<std::uint32_t>([&] { return reference_differences(writer); }));
  for (Slot slot = CTN_MAX_HIER; slot < population.size(); slot++) {
    ctn_node& node = writer.nodes()[slot];
    if (node.state == CTN_FREE) continue;
    if (population[slot] != 0) {
      __atomic_fetch_add(&node.population, population[slot], __ATOMIC_ACQ_REL);
      mended.push_back(fmt::format("{}: counts {} live tasks now, as in the table of tasks",
                                   name(writer, slot), live_tasks(node)));
    }
    if (refs[slot] != 0) {
      __atomic_fetch_add(&node.refs, refs[slot], __ATOMIC_ACQ_REL);
      mended.push_back(fmt::format("{}: counts {} references now, as its subsystems hold",
                                   name(writer, slot), load(node.refs)));
    }
    if (load(node.armed) == 0 && (live_tasks(node) != 0 || load(node.refs) != 0)) {
      store(node.armed, 1U);
      mended.push_back(fmt::format("{}: will tell when it becomes empty", name(writer, slot)));
    }
  }
  CTN_ASSIGN(auto lending, steady_differences<std::uint64_t>([&] {
               return Result<std::vector<std::uint64_t>>(lending_differences(writer));
             }));
  for (std::size_t i = 0; i < lending.size(); i++) {
    if (lending[i] == 0) continue;
    __u64& lent = writer.core().lending[i].lent;
    __atomic_fetch_add(&lent, lending[i], __ATOMIC_ACQ_REL);
    mended.push_back(
        fmt::format("{} {} count as lent now, as containers have", load(lent), kLent[i]));
  }
  return mended;
}

}  // namespace ctnbpf
