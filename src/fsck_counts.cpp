#include "fsck_counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "numfiles/numfiles_ops.h"
#include "object_table.h"
#include "steady.h"

namespace ctnbpf {
namespace {

struct Table {
  const char* name;
  std::uint32_t record_size;
};
constexpr std::array kTables = {Table{"task", sizeof(ctn_task)}, Table{"file", sizeof(ctn_file)}};

std::string name(const State& state, Slot slot) { return printable(tree::address_of(state, slot)); }

/* `population` of each slot as the table of tasks makes it. */
Result<std::vector<std::uint64_t>> populations(const State& state) {
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(state.pins(), "task", sizeof(ctn_task), false));
  std::vector<std::uint64_t> found(state.nodes().size());
  tasks.each<ctn_task>([&](const ctn_task& task) {
    for (const __u32& word : task.slot) {
      std::uint32_t seen = load(word);
      Slot slot = seen & ~CTN_EXITED;
      if (slot >= CTN_MAX_HIER && slot < found.size())
        found[slot] += (seen & CTN_EXITED) != 0 ? CTN_ONE_RECORD : CTN_ONE_RECORD + CTN_ONE_LIVE;
    }
  });
  return found;
}

/* `refs` of each slot as the charged files make it. */
Result<std::vector<std::uint32_t>> references(const State& state) {
  std::vector<std::uint32_t> sums(state.nodes().size());
  CTN_ASSIGN(auto charged, charged_files(state));
  for (const ctn_file& file : charged)
    if (file.slot < sums.size()) sums[file.slot]++;
  return sums;
}

/* Are open files the only references there can be? */
bool references_are_known(const State& state, Slot slot) {
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy))
    if (subsystem->references != nullptr && subsystem != &kNumfiles) return false;
  return true;
}

Result<std::vector<std::uint64_t>> population_differences(const State& state) {
  CTN_ASSIGN(auto off, populations(state));
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

/* Where the kernel does not show the reaping of a task, a charge lasts until the task is freed, and
 * no walk finds it in between: up to 10 s where RCU is lazy (CONFIG_RCU_LAZY). Such a task still has
 * its record, so the records that no walk found are charges as well. */
void add_reaped(const State& state, const std::vector<std::uint64_t>& records,
                std::vector<std::uint64_t>& charged) {
  if (state.core().level[CTN_HOOKS_REAP] != CTN_LEVEL_NONE) return;
  for (Slot slot = CTN_MAX_HIER; slot < records.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    bool counted = false;
    for (const Subsystem* subsystem : bound_subsystems(state, node.hierarchy))
      counted = counted || subsystem->needs(CTN_HOOKS_REAP);
    if (counted && task_records(node) > records[slot])
      charged[slot] += task_records(node) - records[slot];
  }
}

Result<void> compare_with_tasks(const State& state, std::vector<std::string>& found) {
  CTN_ASSIGN(auto tasks, walk_tasks(state.pins()));
  std::vector<std::uint64_t> live(state.nodes().size());
  std::vector<std::uint64_t> records(state.nodes().size());
  std::vector<std::uint64_t> charged(state.nodes().size());
  for (const ctn_walk_task& task : tasks) {
    for (std::uint32_t word : task.slot) {
      Slot slot = word & ~CTN_EXITED;
      if (slot < CTN_MAX_HIER) continue;
      if (slot >= state.nodes().size() || state.nodes()[slot].state == CTN_FREE) {
        found.push_back(fmt::format("task {} is in slot {}, which is not in use", task.tid, slot));
        continue;
      }
      records[slot]++;
      live[slot] += (word & CTN_EXITED) == 0;
    }
    if (task.numtasks < charged.size()) charged[task.numtasks]++;
  }
  for (Slot slot = CTN_MAX_HIER; slot < live.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.state != CTN_FREE && live_tasks(node) != live[slot])
      found.push_back(fmt::format("{}: counts {} live tasks, a walk over all tasks finds {}",
                                  name(state, slot), live_tasks(node), live[slot]));
  }
  add_reaped(state, records, charged);
  for (const Subsystem* subsystem : subsystems()) {
    if (subsystem->check == nullptr || load(state.core().bound[subsystem->id]) == 0) continue;
    CTN_ASSIGN(auto wrong, subsystem->check(state, charged));
    found.insert(found.end(), wrong.begin(), wrong.end());
  }
  return {};
}

Result<void> compare_with_tables(const State& state, std::vector<std::string>& found) {
  CTN_ASSIGN(auto population, population_differences(state));
  CTN_ASSIGN(auto refs, reference_differences(state));
  for (Slot slot = CTN_MAX_HIER; slot < population.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.state == CTN_FREE) continue;
    if (population[slot] != 0)
      found.push_back(fmt::format(
          "{}: counts {} records of tasks and {} live ones, the table of tasks says otherwise",
          name(state, slot), task_records(node), live_tasks(node)));
    if (refs[slot] != 0)
      found.push_back(fmt::format("{}: counts {} references, its subsystems hold {}",
                                  name(state, slot), load(node.refs),
                                  load(node.refs) + refs[slot]));
    bool full = live_tasks(node) != 0 || load(node.refs) != 0;
    if (full && load(node.armed) == 0)
      found.push_back(fmt::format("{}: would not tell when it becomes empty", name(state, slot)));
  }
  for (const Table& one : kTables) {
    CTN_ASSIGN(ObjectTable table,
               ObjectTable::open(state.pins(), one.name, one.record_size, false));
    auto off = table.wrong_counts();
    auto wrong =
        std::count_if(off.begin(), off.end(), [](std::uint32_t each) { return each != 0; });
    if (wrong != 0)
      found.push_back(
          fmt::format("the table of {}s: {} counts of its buckets are wrong", one.name, wrong));
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> compare_counts(const State& state) {
  std::vector<std::string> found;
  CTN_TRY(compare_with_tasks(state, found));
  CTN_TRY(compare_with_tables(state, found));
  return found;
}

/* What is off is added: a store would lose what programs do at the same time. */
Result<std::vector<std::string>> repair_counts(Writer& writer) {
  std::vector<std::string> mended;
  for (const Table& one : kTables) {
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
  return mended;
}

}  // namespace ctnbpf
