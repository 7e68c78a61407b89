/* numtasks: its counters against the charges themselves, and putting right what is wrong. */
#include <fmt/format.h>

#include "ctnbpf/tree.h"
#include "kernel/mapping.h"
#include "numtasks/numtasks_parts.h"
#include "kernel/steady.h"

namespace ctnbpf::numtasks {
namespace {

std::string name(const State& state, Slot slot) { return printable(tree::address_of(state, slot)); }

Slot root_of(const State& state) { return load(state.core().bound[CTN_NUMTASKS]) - 1U; }

/* Containers by depth, deepest first: a child's figures are complete before they go to its parent. */
std::vector<Slot> deepest_first(const State& state, Slot root) {
  std::vector<Slot> slots;
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++)
    if (state.nodes()[slot].state != CTN_FREE && state.nodes()[slot].hierarchy == root)
      slots.push_back(slot);
  std::stable_sort(slots.begin(), slots.end(),
                   [&](Slot a, Slot b) { return state.nodes()[a].depth > state.nodes()[b].depth; });
  return slots;
}

/* What the counters of a container have to be. */
struct Expected {
  Slot slot;
  std::uint64_t current;
  std::uint64_t pool;
  std::int64_t usage;
};

/* From the tasks charged by slot: `current` is summed up the tree, and the words of shares follow from
 * their two equations (shares/shares_record.h). The root comes last. */
std::vector<Expected> expect(const State& state, std::span<const numtasks_state> all,
                             std::span<const std::uint64_t> charged) {
  Slot root = root_of(state);
  std::vector<Slot> slots = deepest_first(state, root);
  std::vector<std::uint64_t> given(all.size());
  for (Slot slot : slots) given[all[slot].parent] += all[slot].shares.guarantee;
  std::vector<std::uint64_t> current(charged.begin(), charged.end());
  std::vector<std::int64_t> usage(charged.begin(), charged.end());
  usage[root] = 0;
  std::vector<Expected> out;
  slots.push_back(root);
  for (Slot slot : slots) {
    std::uint64_t guarantee = all[slot].shares.guarantee;
    std::uint64_t pool = guarantee - std::min(guarantee, given[slot]);
    out.push_back({slot, current[slot], pool, usage[slot]});
    if (slot == root) break;
    current[all[slot].parent] += current[slot];
    usage[all[slot].parent] +=
        std::max<std::int64_t>(usage[slot] - static_cast<std::int64_t>(pool), 0);
  }
  return out;
}

bool shares_right(const numtasks_state& own, const Expected& wanted) {
  __u64 word = load(own.share);
  return share_pool(word) == wanted.pool && share_usage(word) == wanted.usage;
}

/* Tasks charged by slot, from the tasks' own words. */
Result<std::vector<std::uint64_t>> charges(const State& state) {
  CTN_ASSIGN(Mapping tasks,
             Mapping::open(state.pins(), "task_records", sizeof(ctn_task), ~0U, false));
  std::vector<std::uint64_t> charged(state.nodes().size());
  for (const ctn_task& task : tasks.as<ctn_task>())
    if (Slot slot = load(task.counted) & ~NUMTASKS_SHARED;
        slot >= CTN_MAX_HIER && slot < charged.size())
      charged[slot]++;
  return charged;
}

}  // namespace

Result<std::vector<std::string>> check(const State& state, std::span<const std::uint64_t> charged) {
  CTN_ASSIGN(auto all, states(state));
  Slot root = root_of(state);
  std::vector<std::string> found;
  bool in_force = (load(all[root].flags) & NUMTASKS_SHARES) != 0;
  if (load(all[root].changing) != 0)
    found.push_back(fmt::format("{}: a change of shares was cut short", name(state, root)));
  for (const Expected& wanted : expect(state, all, charged)) {
    const numtasks_state& own = all[wanted.slot];
    if (wanted.slot != root && current_of(own) != wanted.current)
      found.push_back(fmt::format("{}: numtasks.current is {}, the table of tasks makes it {}",
                                  name(state, wanted.slot), current_of(own), wanted.current));
    if (wanted.slot != root && load(own.bound) != bound_of(own))
      found.push_back(fmt::format("{}: {} tasks are let in, the limit and the ceiling make it {}",
                                  name(state, wanted.slot), load(own.bound), bound_of(own)));
    if (in_force && load(all[root].changing) == 0 && !shares_right(own, wanted)) {
      __u64 word = load(own.share);
      found.push_back(
          fmt::format("{}: its shares count {} tasks of {}, the table of tasks makes it {} of {}",
                      name(state, wanted.slot), share_usage(word), share_pool(word), wanted.usage,
                      wanted.pool));
    }
  }
  return found;
}

/* All that is derived from what is set: each store may have been the last of the killed writer. */
Result<void> mend(Writer& writer) {
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  Slot root = root_of(writer);
  for (Slot slot : deepest_first(writer, root))
    store(all[slot].bound, static_cast<__u64>(bound_of(all[slot])));
  flag_rates(writer, root);
  CTN_TRY(mend_shares(writer));
  return {};
}

/* What `current` of each slot lacks. */
Result<std::vector<std::uint64_t>> lacking(const State& state,
                                           std::span<const numtasks_state> all) {
  CTN_ASSIGN(auto charged, charges(state));
  std::vector<std::uint64_t> lacks(all.size());
  for (const Expected& wanted : expect(state, all, charged))
    if (wanted.slot >= CTN_MAX_HIER)
      lacks[wanted.slot] = wanted.current - current_of(all[wanted.slot]);
  return lacks;
}

/* 1 for each slot whose shares are wrong. */
Result<std::vector<std::uint32_t>> wrong_shares(const State& state,
                                                std::span<const numtasks_state> all) {
  CTN_ASSIGN(auto charged, charges(state));
  std::vector<std::uint32_t> wrong(all.size());
  for (const Expected& wanted : expect(state, all, charged))
    wrong[wanted.slot] = shares_right(all[wanted.slot], wanted) ? 0 : 1;
  return wrong;
}

Result<std::vector<std::string>> repair(Writer& writer) {
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  Slot root = root_of(writer);
  std::vector<std::string> mended;
  for (Slot slot : deepest_first(writer, root))
    if (load(all[slot].bound) != bound_of(all[slot]))
      mended.push_back(
          fmt::format("{}: {} tasks are let in now, as the limit and the ceiling make it",
                      name(writer, slot), bound_of(all[slot])));
  if (load(all[root].changing) != 0)
    mended.push_back(
        fmt::format("{}: ended a change of shares that was cut short", name(writer, root)));
  CTN_TRY(mend(writer));
  CTN_ASSIGN(auto off, steady_differences<std::uint64_t>([&] { return lacking(writer, all); }));
  for (Slot slot = CTN_MAX_HIER; slot < off.size(); slot++) {
    if (off[slot] == 0) continue;
    __atomic_fetch_add(&all[slot].current, off[slot], __ATOMIC_ACQ_REL);
    mended.push_back(fmt::format("{}: numtasks.current is {} now, as its tasks say",
                                 name(writer, slot), current_of(all[slot])));
  }
  if ((all[root].flags & NUMTASKS_SHARES) == 0) return mended;
  CTN_ASSIGN(auto wrong,
             steady_differences<std::uint32_t>([&] { return wrong_shares(writer, all); }));
  if (std::all_of(wrong.begin(), wrong.end(), [](std::uint32_t one) { return one == 0; }))
    return mended;
  CTN_TRY(redo_shares(writer));
  mended.push_back(fmt::format("entered all tasks in the shares of {} anew", name(writer, root)));
  return mended;
}

}  // namespace ctnbpf::numtasks
