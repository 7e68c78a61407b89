/* What the files of numtasks share. */
#pragma once

#include <algorithm>
#include <optional>

#include "ctnbpf/subsystem.h"
#include "numtasks/numtasks.h"

namespace ctnbpf::numtasks {

inline constexpr std::uint64_t kHighest = 4'194'304; /* PID_MAX_LIMIT: of limits and rates */

inline Result<std::span<const numtasks_state>> states(const State& state) {
  return state.records<numtasks_state>("numtasks");
}

/* Without the charges of forks that a container above may still refuse. */
inline std::uint64_t current_of(const numtasks_state& own) {
  __u64 word = load(own.current);
  return CTN_GRANTED(word);
}

/* The smaller of limit and ceiling. */
inline std::uint64_t bound_of(const numtasks_state& own) {
  return std::min<std::uint64_t>(
      own.limit, own.shares.ceiling == CTN_DONT_CARE ? CTN_UNLIMITED : own.shares.ceiling);
}

/* --- numtasks_shares.cpp --- */

/* What the root shares out: total_numtasks, by default the kernel's threads-max. */
std::uint32_t total_of(const numtasks_state& root);
Result<Value> read_shares(const State& state, Slot slot);
Result<Change> prepare_shares(Writer& writer, Slot slot, const std::string& text);
Result<Value> read_total(const State& state, Slot slot);
Result<Change> prepare_total(Writer& writer, Slot slot, const std::string& text);
Result<NormalForm> normal_shares(const std::string& text);
Result<NormalForm> normal_total(const std::string& text);
/* Without what `max` comes to on this machine. */
Result<Value> own_total(const State& state, Slot slot);
/* A container was taken out of the tree: its min goes back. */
void give_shares_back(Writer& writer, Slot slot);
/* After a writer was killed: makes the words anew if it left a change of shares half done. */
Result<bool> mend_shares(Writer& writer);
/* Makes the words anew. */
Result<void> redo_shares(Writer& writer);

/* --- numtasks_rate.cpp --- */

/* Forks that count against the container's rate now. */
Result<std::uint64_t> recent_forks(const State& state, Slot slot);
Result<Value> read_rate(const State& state, Slot slot);
Result<Change> prepare_rate(Writer& writer, Slot slot, const std::string& text);
Result<Value> read_interval(const State& state, Slot slot);
Result<Change> prepare_interval(Writer& writer, Slot slot, const std::string& text);
Result<NormalForm> normal_rate(const std::string& text);
Result<NormalForm> normal_interval(const std::string& text);
/* Marks those whom a rate concerns in `top` and below: the container's own, or of one above. */
void flag_rates(Writer& writer, Slot top);

/* --- numtasks_bounds.cpp --- */

Result<std::vector<Bound>> bounds(const State& state, Slot slot);
Result<void> within_limits(const State& state, Slot slot, std::span<const Slot> from);

/* --- numtasks_check.cpp --- */

Result<std::vector<std::string>> check(const State& state, std::span<const std::uint64_t> charged);
Result<void> mend(Writer& writer);
Result<std::vector<std::string>> repair(Writer& writer);

}  // namespace ctnbpf::numtasks
