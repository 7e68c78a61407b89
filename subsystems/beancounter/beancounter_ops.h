/* Bean counters, control plane: the attributes and operations of one resource. A resource is a struct
 * Kind with
 *   kId     of the subsystem
 *   kName   of the subsystem, and of its map
 *   kNoun   what `tree` calls them ("files")
 *   machine()  how many there are on the machine: what a root shows */
#pragma once

#include <fmt/format.h>

#include <algorithm>

#include "beancounter/beancounter.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf {

inline constexpr std::uint64_t kHighestBean = ~0ULL >> 1;

template <typename Kind>
struct BeanCounter {
  static Result<std::span<const beans_state>> states(const State& state) {
    return state.records<beans_state>(Kind::kName);
  }

  /* --- reading; a root keeps no counts, the kernel does --- */

  template <__u64 beans_state::*kMember>
  static Result<Value> read(const State& state, Slot slot) {
    CTN_ASSIGN(auto all, states(state));
    return Value{std::uint64_t{load(all[slot].*kMember)}};
  }

  template <__u64 beans_state::*kMember>
  static Result<Value> read_ceiling(const State& state, Slot slot) {
    if (slot < CTN_MAX_HIER) return Value{std::uint64_t{CTN_UNLIMITED}};
    return read<kMember>(state, slot);
  }

  static Result<Value> read_held(const State& state, Slot slot) {
    if (slot < CTN_MAX_HIER) return Value{Kind::machine()};
    CTN_ASSIGN(auto all, states(state));
    return Value{held_of(all[slot])};
  }

  /* Without the charges that a container above may still refuse. */
  static std::uint64_t held_of(const beans_state& state) {
    __u64 word = load(state.held);
    return CTN_GRANTED(word);
  }

  /* The record's own is raised when one is given back; until then `held` is the maximum. */
  static std::uint64_t maxheld_of(const beans_state& state) {
    return std::max<std::uint64_t>(held_of(state), load(state.maxheld));
  }

  static Result<Value> read_maxheld(const State& state, Slot slot) {
    if (slot < CTN_MAX_HIER) return Value{Kind::machine()};
    CTN_ASSIGN(auto all, states(state));
    return Value{maxheld_of(all[slot])};
  }

  static Result<Value> read_minheld(const State& state, Slot slot) {
    if (slot < CTN_MAX_HIER) return Value{std::uint64_t{0}};
    return read<&beans_state::minheld>(state, slot);
  }

  /* Of the whole hierarchy. */
  static Result<Value> read_flat(const State& state, Slot) {
    return Value{std::uint64_t{(load(state.core().modes[Kind::kId]) & BEANS_FLAT) != 0}};
  }

  /* --- setting --- */

  static Result<std::uint64_t> parse(const State& state, Slot slot, const char* attribute,
                                     const std::string& text) {
    std::string full = fmt::format("{}.{}", Kind::kName, attribute);
    CTN_ASSIGN(std::uint64_t number, parse_limit(full, text, kHighestBean));
    if (slot < CTN_MAX_HIER)
      return Error{EPERM, fmt::format("{} is a root and has no limit: set it on a container below",
                                      tree::address_of(state, slot))};
    return number;
  }

  /* What the word will be when this setting is made, after those before it in the command. */
  static std::uint64_t upcoming(Writer& writer, const __u64& word) {
    auto found = writer.pending().find(&word);
    return found == writer.pending().end() ? load(word) : found->second;
  }

  static Change store_later(Writer& writer, __u64& word, std::uint64_t number) {
    writer.pending()[&word] = number;
    return Change([&word, number] { store(word, static_cast<__u64>(number)); });
  }

  static Result<Change> prepare_barrier(Writer& writer, Slot slot, const std::string& text) {
    CTN_ASSIGN(std::uint64_t barrier, parse(writer, slot, "barrier", text));
    CTN_ASSIGN(auto all, writer.records<beans_state>(Kind::kName));
    std::uint64_t limit = upcoming(writer, all[slot].limit);
    if (barrier > limit)
      return Error{
          EINVAL,
          fmt::format("{0}.barrier cannot be {1}, above {0}.limit, which is {2}: set the limit "
                      "first, then the barrier",
                      Kind::kName, to_string(Value{barrier}), to_string(Value{limit}))};
    return store_later(writer, all[slot].barrier, barrier);
  }

  static Result<Change> prepare_limit(Writer& writer, Slot slot, const std::string& text) {
    CTN_ASSIGN(std::uint64_t limit, parse(writer, slot, "limit", text));
    CTN_ASSIGN(auto all, writer.records<beans_state>(Kind::kName));
    std::uint64_t barrier = upcoming(writer, all[slot].barrier);
    if (limit < barrier)
      return Error{EINVAL,
                   fmt::format("{0}.limit cannot be {1}, below {0}.barrier, which is {2}: set the "
                               "barrier first, then the limit",
                               Kind::kName, to_string(Value{limit}), to_string(Value{barrier}))};
    return store_later(writer, all[slot].limit, limit);
  }

  /* Barrier and limit in one: they are stored in the order that keeps the rule. */
  static Result<Change> prepare_ceiling(Writer& writer, Slot slot, const std::string& text) {
    CTN_ASSIGN(std::uint64_t both, parse(writer, slot, "ceiling", text));
    CTN_ASSIGN(auto all, writer.records<beans_state>(Kind::kName));
    bool raised = both > upcoming(writer, all[slot].limit);
    Change first = store_later(writer, raised ? all[slot].limit : all[slot].barrier, both);
    Change second = store_later(writer, raised ? all[slot].barrier : all[slot].limit, both);
    return Change([first, second] {
      first.make();
      second.make();
    });
  }

  static Result<Change> prepare_flat(Writer& writer, Slot slot, const std::string& text) {
    if (slot >= CTN_MAX_HIER)
      return Error{EPERM,
                   fmt::format("{}.flat belongs to the hierarchy: set it on {}:/", Kind::kName,
                               tree::hierarchy_name(writer, writer.nodes()[slot].hierarchy))};
    if (text != "0" && text != "1" && text != "0\n" && text != "1\n")
      return Error{EINVAL, fmt::format("{}.flat cannot be '{}': use 0 or 1", Kind::kName,
                                       printable(text.substr(0, 80)))};
    __u8& mode = writer.core().modes[Kind::kId];
    return Change(
        [&mode, flat = text[0] == '1'] { store(mode, static_cast<__u8>(flat ? BEANS_FLAT : 0)); });
  }

  /* --- in a layout --- */

  static std::string full(const char* attribute) {
    return fmt::format("{}.{}", Kind::kName, attribute);
  }
  static Result<NormalForm> normal_barrier(const std::string& text) {
    return ctnbpf::normal_limit(full("barrier"), text, kHighestBean);
  }
  static Result<NormalForm> normal_limit(const std::string& text) {
    return ctnbpf::normal_limit(full("limit"), text, kHighestBean);
  }
  static Result<NormalForm> normal_ceiling(const std::string& text) {
    CTN_ASSIGN(std::uint64_t both, parse_limit(full("ceiling"), text, kHighestBean));
    return NormalForm{{"barrier", to_string(Value{both})}, {"limit", to_string(Value{both})}};
  }
  static Result<NormalForm> normal_flat(const std::string& text) {
    return normal_flag(full("flat"), text);
  }

  /* --- operations --- */

  static Result<void> bind(Writer& writer, Slot root) {
    CTN_ASSIGN(auto all, writer.records<beans_state>(Kind::kName));
    all[root] = {};
    store(writer.core().modes[Kind::kId], __u8{0});
    return {};
  }

  static Result<void> create(Writer& writer, Slot slot) {
    CTN_ASSIGN(auto all, writer.records<beans_state>(Kind::kName));
    all[slot] = {};
    all[slot].barrier = all[slot].limit = CTN_UNLIMITED;
    all[slot].parent = writer.nodes()[slot].parent;
    return {};
  }

  static Result<Figures> figures(const State& state, Slot slot) {
    if (slot < CTN_MAX_HIER) {
      std::uint64_t now = Kind::machine(); /* the kernel keeps no peak: what is known is now */
      return Figures{Kind::kNoun, now, now, CTN_UNLIMITED, 0};
    }
    CTN_ASSIGN(auto all, states(state));
    const beans_state& own = all[slot];
    return Figures{.noun = Kind::kNoun,
                   .current = held_of(own),
                   .peak = maxheld_of(own),
                   .limit = load(own.barrier),
                   .refused = load(own.events),
                   .admin_limit = load(own.limit)};
  }

  /* In a flat hierarchy the container's own alone. */
  static Result<std::vector<Bound>> bounds(const State& state, Slot slot) {
    CTN_ASSIGN(auto all, states(state));
    const bool flat = (load(state.core().modes[Kind::kId]) & BEANS_FLAT) != 0;
    std::vector<Bound> out;
    for (Slot at = slot; at >= CTN_MAX_HIER && at < all.size(); at = all[at].parent) {
      std::uint64_t held = held_of(all[at]);
      auto add = [&](const char* what, std::uint64_t most, bool spares_admin) {
        if (most != CTN_UNLIMITED)
          out.push_back({Kind::kNoun, fmt::format("{}.{}", Kind::kName, what), at, held, most,
                         most - std::min(held, most), spares_admin});
      };
      add("barrier", load(all[at].barrier), true);
      add("limit", load(all[at].limit), false);
      if (flat) break;
    }
    return out;
  }

  /* What `held` should be by slot, from the charges themselves: (slot, mode) each. */
  template <typename Charges>
  static Result<std::vector<std::uint64_t>> expected(const State& state, const Charges& charges) {
    CTN_ASSIGN(auto all, states(state));
    std::vector<std::uint64_t> sums(all.size());
    for (const auto& charge : charges)
      for (Slot at = charge.slot; at >= CTN_MAX_HIER && at < all.size(); at = all[at].parent) {
        sums[at]++;
        if ((charge.mode & BEANS_FLAT) != 0) break;
      }
    return sums;
  }
};

}  // namespace ctnbpf
