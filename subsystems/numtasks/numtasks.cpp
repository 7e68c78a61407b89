/* numtasks: how many tasks a container and all below it may have, and how quickly they may fork.
 *
 * `limit` bounds the tasks of the subtree, zombies included, as they hold a pid. A fork over the
 * limit of the container or of any ancestor fails with EAGAIN and charges nothing. Attaching and
 * lowering the limit are never refused: `current` may then be above `limit`, and forks fail until
 * it is below. `max` means no limit. A root has no limit and shows the machine's tasks.
 *
 * `shares` divide the root's `total_numtasks` (shares/shares.h). What is guaranteed to a container is
 * kept free for it; what nobody is guaranteed, or has not been given on to children, is lent to
 * whoever forks above its guarantee. A fork that finds nothing left to borrow fails with EAGAIN, and
 * the refusal counts with the root. A ceiling binds as a limit does. Tasks of the root take no part.
 * Changing shares and moving tasks may leave more lent than there is: then nothing is lent until
 * enough have gone, while what is guaranteed is let in.
 *
 * `forkrate` bounds the forks of the subtree in any `forkrate_interval` (forkrate.h), EAGAIN above. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "numtasks/numtasks.h"
#include "ctnbpf/attributes.h"
#include "numtasks/numtasks_ops.h"
#include "numtasks/numtasks_parts.h"
#include "kernel/loading.h"
#include "ctnbpf/tree.h"

namespace ctnbpf {
namespace {

using numtasks::bound_of;
using numtasks::states;

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
  CTN_ASSIGN(auto all, states(state));
  return Value{numtasks::current_of(all[slot])};
}

/* The record's peak is raised when a task leaves; until then `current` is the peak. */
std::uint64_t peak_of(const numtasks_state& state) {
  return std::max<std::uint64_t>(numtasks::current_of(state), load(state.peak));
}

Result<Value> read_peak(const State& state, Slot slot) {
  if (slot < CTN_MAX_HIER) return Value{tasks_of_machine()};
  CTN_ASSIGN(auto all, states(state));
  return Value{peak_of(all[slot])};
}

Result<Change> prepare_limit(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(std::uint64_t limit, parse_limit("numtasks.limit", text, numtasks::kHighest));
  if (slot < CTN_MAX_HIER)
    return Error{EPERM, fmt::format("{} is a root and has no limit: set it on a container below",
                                    tree::address_of(writer, slot))};
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  numtasks_state& own = all[slot];
  return Change([&own, limit] {
    store(own.limit, static_cast<__u64>(limit));
    store(own.bound, static_cast<__u64>(bound_of(own)));
  });
}

Result<Value> read_guarantee(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  return Value{std::uint64_t{slot < CTN_MAX_HIER ? numtasks::total_of(all[slot])
                                                 : all[slot].shares.guarantee}};
}

Result<Value> read_ceiling(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  bool none = slot < CTN_MAX_HIER || all[slot].shares.ceiling == CTN_DONT_CARE;
  return Value{none ? std::uint64_t{CTN_UNLIMITED} : std::uint64_t{all[slot].shares.ceiling}};
}

/* What of the guarantee is neither used nor given on; of a root: what can still be borrowed. */
Result<Value> read_unused(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  __u64 word = load(all[slot].share);
  return Value{static_cast<std::uint64_t>(
      std::max<std::int64_t>(std::int64_t{share_pool(word)} - share_usage(word), 0))};
}

/* Of a root: all that is borrowed of it. */
Result<Value> read_borrowed(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  __u64 word = load(all[slot].share);
  std::int64_t borrowed =
      slot < CTN_MAX_HIER ? std::max(share_usage(word), 0) : share_borrowed(word);
  return Value{static_cast<std::uint64_t>(borrowed)};
}

Result<Value> read_stats(const State& state, Slot slot) {
  struct Part {
    const char* what;
    Result<Value> (*how)(const State& state, Slot slot);
  };
  constexpr std::array kParts = {
      Part{"current", read_current},
      Part{"peak", read_peak},
      Part{"successes", read<&numtasks_state::successes>},
      Part{"failures", read<&numtasks_state::failcnt>},
      Part{"rate_failures", read<&numtasks_state::rate_failures>},
      Part{"borrowed", read_borrowed},
  };
  std::string text;
  for (const auto& [what, how] : kParts) {
    CTN_ASSIGN(Value value, how(state, slot));
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", what, to_string(value));
  }
  return Value{text};
}

constexpr std::array kAttributes = {
    Attribute{"current", "tasks of the subtree now, zombies included", read_current},
    Attribute{.name = "limit",
              .help = "most tasks the subtree may have: max, or 0 to 4194304",
              .read = read_limit,
              .prepare = prepare_limit,
              .run_option = "--numtasks",
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kContainer,
              .initial = "max",
              .normal =
                  [](const std::string& text) {
                    return normal_limit("numtasks.limit", text, numtasks::kHighest);
                  }},
    Attribute{"peak", "most tasks the subtree ever had at once", read_peak},
    Attribute{"failcnt", "forks refused to tasks of this very container, by any limit",
              read<&numtasks_state::failcnt>, nullptr, nullptr, CTN_LEVEL_NONE, 1},
    Attribute{"events", "forks refused by this container's limit, in it or below",
              read<&numtasks_state::events>},
    Attribute{
        .name = "shares",
        .help =
            "min_shares=N,max_shares=N,child_shares_divisor=N; or dontcare for N of the first two",
        .read = numtasks::read_shares,
        .prepare = numtasks::prepare_shares,
        .needs = CTN_LEVEL_FALLBACK,
        .initial = "min_shares=dontcare,max_shares=dontcare,child_shares_divisor=100",
        .normal = numtasks::normal_shares},
    Attribute{.name = "total_numtasks",
              .help = "of a root: tasks that shares divide; max: the kernel's threads-max",
              .read = numtasks::read_total,
              .prepare = numtasks::prepare_total,
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kRoot,
              .initial = "max",
              .normal = numtasks::normal_total,
              .own = numtasks::own_total},
    Attribute{"guarantee", "tasks the shares keep free for the subtree", read_guarantee},
    Attribute{"ceiling", "most tasks the shares let the subtree have", read_ceiling},
    Attribute{"unused",
              "tasks of the guarantee that are free: neither used nor given on to children",
              read_unused},
    Attribute{"borrowed", "tasks above the guarantee, lent by those above", read_borrowed},
    Attribute{.name = "forkrate",
              .help = "most forks of the subtree in any interval: max, N, or N/SEC to set both; "
                      "who never pauses gets 15/16 of N or more",
              .read = numtasks::read_rate,
              .prepare = numtasks::prepare_rate,
              .run_option = "--forkrate",
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kContainer,
              .initial = "max",
              .normal = numtasks::normal_rate},
    Attribute{.name = "forkrate_interval",
              .help = "seconds of that interval, 1 to 86400",
              .read = numtasks::read_interval,
              .prepare = numtasks::prepare_interval,
              .on = On::kContainer,
              .initial = "1",
              .normal = numtasks::normal_interval},
    Attribute{"rate_failures", "forks refused to tasks of this very container, by any fork rate",
              read<&numtasks_state::rate_failures>, nullptr, nullptr, CTN_LEVEL_NONE, 2},
    Attribute{"rate_events", "forks refused by this container's fork rate, in it or below",
              read<&numtasks_state::rate_events>, nullptr, nullptr, CTN_LEVEL_NONE, 3},
    Attribute{"stats", "current, peak, successes, failures, rate_failures and borrowed in one line",
              read_stats},
};

Result<void> bind(Writer& writer, Slot root) {
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  all[root] = {};
  all[root].shares = {CTN_DONT_CARE, CTN_DONT_CARE, CTN_SHARES_DIVISOR, 0, CTN_DONT_CARE};
  all[root].parent = root;
  return {};
}

Result<void> create(Writer& writer, Slot slot) {
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  CTN_ASSIGN(auto rates, writer.records<numtasks_rate>("numtasks_rates"));
  Slot parent = writer.nodes()[slot].parent;
  all[slot] = {};
  all[slot].limit = all[slot].bound = CTN_UNLIMITED;
  all[slot].parent = parent;
  all[slot].flags = all[parent].flags & (NUMTASKS_SHARES | NUMTASKS_RATED);
  all[slot].shares = {CTN_DONT_CARE, CTN_DONT_CARE, CTN_SHARES_DIVISOR, 0, CTN_DONT_CARE};
  rates[slot] = {};
  return {};
}

Result<Figures> figures(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  if (slot < CTN_MAX_HIER) {
    std::uint64_t tasks = tasks_of_machine(); /* the kernel keeps no peak: what is known is now */
    return Figures{
        "tasks", tasks, tasks, CTN_UNLIMITED, load(all[slot].events), load(all[slot].rate_events)};
  }
  const numtasks_state& own = all[slot];
  return Figures{"tasks",         numtasks::current_of(own), peak_of(own),
                 load(own.bound), load(own.events),          load(own.rate_events)};
}

Slot charged(const ctn_task& task) { return load(task.counted) & ~NUMTASKS_SHARED; }

Result<void> load_arrays(Loading& loading) {
  CTN_TRY(loading.size("numtasks", loading.facts.slots));
  return loading.size("numtasks_rates", loading.facts.slots);
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
    .load = load_arrays,
    .bind = bind,
    .create = create,
    .removed = numtasks::give_shares_back,
    .destroy = nullptr,
    .can_attach = nullptr,
    .figures = figures,
    .charged = charged,
    .check = numtasks::check,
    .repair = numtasks::repair,
    .mend = numtasks::mend,
    .within_limits = numtasks::within_limits,
    .bounds = numtasks::bounds,
    .beancounter = "numproc",
    .refusals = "forks_refused",
};

}  // namespace ctnbpf
