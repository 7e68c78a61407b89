/* numtasks: how many tasks a container and all below it may have.
 *
 * `limit` bounds the tasks of the subtree, zombies included, as they hold a pid. A fork over the
 * limit of the container or of any ancestor fails with EAGAIN and charges nothing. Attaching and
 * lowering the limit are never refused: `current` may then be above `limit`, and forks fail until
 * it is below. `max` means no limit. A root has no limit and shows the machine's tasks. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "numtasks/numtasks.h"
#include "numtasks/numtasks_ops.h"
#include "ctnbpf/tree.h"

namespace ctnbpf {
namespace {

constexpr std::uint64_t kHighestLimit = 4'194'304; /* PID_MAX_LIMIT */

Result<std::span<const numtasks_state>> states(const State& state) {
  return state.records<numtasks_state>("numtasks");
}

/* All tasks of the machine: the fourth figure of /proc/loadavg is "running/all". */
std::uint64_t tasks_of_machine() {
  std::ifstream file("/proc/loadavg");
  std::string word;
  for (int i = 0; i < 4; i++) file >> word;
  return std::strtoull(word.substr(std::min(word.find('/') + 1, word.size())).c_str(), nullptr, 10);
}

template <__u64 numtasks_state::*kMember>
Result<Value> read(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  return Value{std::uint64_t{load(all[slot].*kMember)}};
}

Result<Value> read_limit(const State& state, Slot slot) {
  if (slot < CTN_MAX_HIER) return Value{std::uint64_t{CTN_UNLIMITED}};
  return read<&numtasks_state::limit>(state, slot);
}

Result<Value> read_current(const State& state, Slot slot) {
  if (slot < CTN_MAX_HIER) return Value{tasks_of_machine()};
  return read<&numtasks_state::current>(state, slot);
}

/* The record's peak is raised when a task leaves; until then `current` is the peak. */
std::uint64_t peak_of(const numtasks_state& state) {
  return std::max<std::uint64_t>(load(state.current), load(state.peak));
}

Result<Value> read_peak(const State& state, Slot slot) {
  if (slot < CTN_MAX_HIER) return Value{tasks_of_machine()};
  CTN_ASSIGN(auto all, states(state));
  return Value{peak_of(all[slot])};
}

Result<Change> prepare_limit(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(std::uint64_t limit, parse_limit("numtasks.limit", text, kHighestLimit));
  if (slot < CTN_MAX_HIER)
    return Error{EPERM, fmt::format("{} is a root and has no limit: set it on a container below",
                                    tree::address_of(writer, slot))};
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  __u64& word = all[slot].limit;
  return Change([&word, limit] { store(word, static_cast<__u64>(limit)); });
}

constexpr std::array kAttributes = {
    Attribute{"current", "tasks of the subtree now, zombies included", read_current},
    Attribute{"limit", "most tasks the subtree may have: max, or 0 to 4194304", read_limit,
              prepare_limit, "--numtasks", CTN_LEVEL_FALLBACK},
    Attribute{"peak", "most tasks the subtree ever had at once", read_peak},
    Attribute{"failcnt", "forks refused to tasks of this very container, by any limit",
              read<&numtasks_state::failcnt>},
    Attribute{"events", "forks refused by this container's limit, in it or below",
              read<&numtasks_state::events>},
};

Result<void> create(Writer& writer, Slot slot) {
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  all[slot] = {};
  all[slot].limit = CTN_UNLIMITED;
  all[slot].parent = writer.nodes()[slot].parent;
  return {};
}

Result<Figures> figures(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  if (slot < CTN_MAX_HIER) {
    std::uint64_t tasks = tasks_of_machine(); /* the kernel keeps no peak: what is known is now */
    return Figures{"tasks", tasks, tasks, CTN_UNLIMITED, 0};
  }
  const numtasks_state& own = all[slot];
  return Figures{"tasks", load(own.current), peak_of(own), load(own.limit), load(own.events)};
}

/* `current` of each container against the charges a walk found, summed up the tree. */
Result<std::vector<std::string>> check(const State& state, std::span<const std::uint64_t> charged) {
  CTN_ASSIGN(auto all, states(state));
  std::vector<std::uint64_t> expected(all.size());
  for (Slot slot = CTN_MAX_HIER; slot < charged.size() && slot < all.size(); slot++)
    for (Slot at = slot; charged[slot] != 0 && at >= CTN_MAX_HIER && at < all.size();
         at = all[at].parent)
      expected[at] += charged[slot];
  std::vector<std::string> found;
  for (Slot slot = CTN_MAX_HIER; slot < all.size(); slot++) {
    if (state.nodes()[slot].state == CTN_FREE) continue;
    if (load(all[slot].current) != expected[slot])
      found.push_back(fmt::format("{}: numtasks.current is {}, a walk over all tasks finds {}",
                                  printable(tree::address_of(state, slot)), load(all[slot].current),
                                  expected[slot]));
  }
  return found;
}

}  // namespace

const Subsystem kNumtasks = {
    .id = CTN_NUMTASKS,
    .name = "numtasks",
    .help = "how many tasks a container and all below it may have",
    .attributes = kAttributes,
    .hooks = 1 << CTN_HOOKS_REAP,
    .level_from = CTN_HOOKS_TASK,
    .minimum = CTN_LEVEL_ACCOUNTING,
    .create = create,
    .destroy = nullptr,
    .can_attach = nullptr,
    .figures = figures,
    .check = check,
};

}  // namespace ctnbpf
