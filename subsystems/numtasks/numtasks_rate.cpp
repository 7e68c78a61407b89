/* Fork rates of numtasks: see forkrate.h for how they are kept. */
#include <fmt/format.h>

#include <ctime>

#include "ctnbpf/tree.h"
#include "ctnbpf/attributes.h"
#include "numtasks/numtasks_parts.h"

namespace ctnbpf::numtasks {
namespace {

constexpr std::uint64_t kLongest = 86'400; /* seconds of an interval */

std::uint32_t seconds_of(const numtasks_state& own) {
  return own.rate_interval == 0 ? 1 : own.rate_interval;
}

/* What was counted in steps of another length says nothing. */
void forget_forks(numtasks_rate& rate) {
  for (__u64& entry : rate.ring) store(entry, __u64{0});
}

struct Wanted {
  std::uint64_t rate;
  std::uint64_t seconds; /* 0: as it is */
};

Result<Wanted> parse(const std::string& text) {
  std::size_t slash = text.find('/');
  CTN_ASSIGN(std::uint64_t rate, parse_limit("numtasks.forkrate", text.substr(0, slash), kHighest));
  if (slash == std::string::npos) return Wanted{rate, 0};
  CTN_ASSIGN(std::uint64_t seconds,
             parse_limit("numtasks.forkrate_interval", text.substr(slash + 1), kLongest));
  if (seconds == 0 || seconds == CTN_UNLIMITED || rate == CTN_UNLIMITED)
    return Error{
        EINVAL,
        fmt::format("numtasks.forkrate cannot be '{}': use 'max', N, or N/SECONDS with 1 to {} "
                    "seconds",
                    printable(text.substr(0, 80)), kLongest)};
  return Wanted{rate, seconds};
}

Result<std::uint64_t> parse_interval(const std::string& text) {
  CTN_ASSIGN(std::uint64_t seconds, parse_limit("numtasks.forkrate_interval", text, kLongest));
  if (seconds == 0 || seconds == CTN_UNLIMITED)
    return Error{EINVAL,
                 fmt::format("numtasks.forkrate_interval cannot be '{}': use 1 to {} seconds",
                             printable(text.substr(0, 80)), kLongest)};
  return seconds;
}

Result<void> not_a_root(const Writer& writer, Slot slot) {
  if (slot >= CTN_MAX_HIER) return {};
  return Error{EPERM, fmt::format("{} is a root and has no fork rate: set it on a container below",
                                  tree::address_of(writer, slot))};
}

}  // namespace

/* Lingering containers too: their tasks may still fork. */
void flag_rates(Writer& writer, Slot top) {
  auto found = writer.records<numtasks_state>("numtasks");
  if (!found) return; /* only with the pins of another version, which open() refuses */
  std::span<numtasks_state> all = *found;
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) {
    if (writer.nodes()[slot].state == CTN_FREE || !tree::within(writer, slot, top)) continue;
    bool rated = false;
    for (Slot at = slot; at >= CTN_MAX_HIER && !rated; at = all[at].parent)
      rated = (all[at].flags & NUMTASKS_RATE_HERE) != 0;
    __u32 flags = all[slot].flags & ~NUMTASKS_RATED;
    store(all[slot].flags, rated ? flags | NUMTASKS_RATED : flags);
  }
}

Result<std::uint64_t> recent_forks(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  CTN_ASSIGN(auto rates, state.records<numtasks_rate>("numtasks_rates"));
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  std::uint64_t ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                     static_cast<std::uint64_t>(now.tv_nsec);
  numtasks_rate copy = rates[slot];
  auto step = static_cast<__u32>(ns / forkrate_step(seconds_of(all[slot]) * 1'000'000'000ULL));
  return forkrate_recent(&copy, forkrate_newest(&copy, step));
}

Result<Value> read_rate(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  bool set = (load(all[slot].flags) & NUMTASKS_RATE_HERE) != 0;
  return Value{set ? std::uint64_t{load(all[slot].rate)} : std::uint64_t{CTN_UNLIMITED}};
}

Result<Change> prepare_rate(Writer& writer, Slot slot, const std::string& text) {
  CTN_TRY(not_a_root(writer, slot));
  CTN_ASSIGN(Wanted wanted, parse(text));
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  CTN_ASSIGN(auto rates, writer.records<numtasks_rate>("numtasks_rates"));
  return Change([&writer, all, rates, slot, wanted] {
    numtasks_state& own = all[slot];
    bool set = wanted.rate != CTN_UNLIMITED;
    bool fresh = (own.flags & NUMTASKS_RATE_HERE) == 0 ||
                 (wanted.seconds != 0 && wanted.seconds != seconds_of(own));
    if (wanted.seconds != 0) store(own.rate_interval, static_cast<__u32>(wanted.seconds));
    if (set) store(own.rate, static_cast<__u32>(wanted.rate));
    if (fresh) forget_forks(rates[slot]);
    __u32 flags = own.flags & ~NUMTASKS_RATE_HERE;
    store(own.flags, set ? flags | NUMTASKS_RATE_HERE : flags);
    flag_rates(writer, slot);
  });
}

Result<Value> read_interval(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  return Value{std::uint64_t{seconds_of(all[slot])}};
}

Result<Change> prepare_interval(Writer& writer, Slot slot, const std::string& text) {
  CTN_TRY(not_a_root(writer, slot));
  CTN_ASSIGN(std::uint64_t seconds, parse_interval(text));
  CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
  CTN_ASSIGN(auto rates, writer.records<numtasks_rate>("numtasks_rates"));
  return Change([all, rates, slot, seconds] {
    if (seconds == seconds_of(all[slot])) return;
    store(all[slot].rate_interval, static_cast<__u32>(seconds));
    forget_forks(rates[slot]);
  });
}

Result<NormalForm> normal_rate(const std::string& text) {
  CTN_ASSIGN(Wanted wanted, parse(text));
  NormalForm out{{"forkrate", to_string(Value{wanted.rate})}};
  if (wanted.seconds != 0) out.emplace_back("forkrate_interval", std::to_string(wanted.seconds));
  return out;
}

Result<NormalForm> normal_interval(const std::string& text) {
  CTN_ASSIGN(std::uint64_t seconds, parse_interval(text));
  return NormalForm{{"forkrate_interval", std::to_string(seconds)}};
}

}  // namespace ctnbpf::numtasks
