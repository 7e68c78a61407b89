/* The table of subsystems with which the tests of the interface run: those that are shipped, then rig,
 * and plain ones up to the most there can be. */
#include <fmt/format.h>

#include <array>

#include "ctnbpf/tree.h"
#include "kernel/loading.h"
#include "ctnbpf/attributes.h"
#include "rig/rig_ops.h"

namespace ctnbpf {

namespace {

using rig::calls;
using rig::refuse;

void note(const State& state, const char* what, Slot slot) {
  calls.push_back(fmt::format("{} {}", what, tree::address_of(state, slot)));
}

Error refused(const char* what) {
  return {EPERM, fmt::format("{} is refused, as the test wanted", what)};
}

template <__u64 rig_state::*kMember>
Result<Value> read(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, state.records<rig_state>("rig"));
  return Value{std::uint64_t{load(all[slot].*kMember)}};
}

template <__u32 rig_state::*kMember>
Result<Value> read_flag(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, state.records<rig_state>("rig"));
  return Value{std::uint64_t{load(all[slot].*kMember)}};
}

template <__u32 rig_state::*kMember>
Result<Change> prepare_flag(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(std::uint64_t value, parse_limit("rig", text, 1));
  CTN_ASSIGN(auto all, writer.records<rig_state>("rig"));
  return Change([&word = all[slot].*kMember, value] { store(word, static_cast<__u32>(value)); });
}

Result<Value> read_mark(const State& state, Slot slot) {
  if (refuse.read) return refused("reading");
  return Value{tree::path_of(state, slot)};
}

constexpr std::array kAttributes = {
    Attribute{"forks", "children charged", read<&rig_state::forks>, nullptr, nullptr,
              CTN_LEVEL_NONE, 1},
    Attribute{"released", "of those, given back", read<&rig_state::released>},
    Attribute{"exits", "tasks that exited", read<&rig_state::exits>},
    Attribute{"came", "tasks that were moved in", read<&rig_state::came>},
    Attribute{"went", "tasks that were moved out", read<&rig_state::went>},
    Attribute{"refused", "forks", read<&rig_state::refused>},
    Attribute{"refuse_forks", "0 or 1", read_flag<&rig_state::refuse_forks>,
              prepare_flag<&rig_state::refuse_forks>},
    Attribute{"hold", "0 or 1: forks hold the container", read_flag<&rig_state::hold>,
              prepare_flag<&rig_state::hold>},
    Attribute{"mark", "its path", read_mark},
};

Result<void> bind(Writer& writer, Slot root) {
  calls.emplace_back("bind");
  CTN_ASSIGN(auto all, writer.records<rig_state>("rig"));
  all[root] = {};
  return refuse.bind ? Result<void>(refused("binding")) : Result<void>();
}

void unbind(Writer&, Slot) { calls.emplace_back("unbind"); }

Result<void> create(Writer& writer, Slot slot) {
  note(writer, "create", slot);
  CTN_ASSIGN(auto all, writer.records<rig_state>("rig"));
  all[slot] = {};
  return refuse.create ? Result<void>(refused("creation")) : Result<void>();
}

void removed(Writer& writer, Slot slot) { note(writer, "removed", slot); }
void destroy(Writer& writer, Slot slot) { note(writer, "destroy", slot); }

Result<void> can_attach(const State& state, Slot slot, std::uint64_t) {
  note(state, "can_attach", slot);
  return refuse.can_attach ? Result<void>(refused("coming in")) : Result<void>();
}

Result<void> attach(Writer& writer, Slot slot, std::span<const Arrival> tasks) {
  note(writer, "attach", slot);
  rig::attached.clear();
  for (const Arrival& one : tasks) rig::attached.push_back(one.tid);
  return refuse.attach ? Result<void>(refused("attaching")) : Result<void>();
}

const Subsystem kRig = {
    .id = CTN_RIG,
    .name = "rig",
    .help = "tests of the interface of subsystems",
    .attributes = kAttributes,
    .hooks = 1 << CTN_HOOKS_REAP,
    .level_from = CTN_HOOKS_TASK,
    .minimum = CTN_LEVEL_ACCOUNTING,
    .load = [](Loading& loading) { return loading.size("rig", loading.facts.slots); },
    .bind = bind,
    .create = create,
    .removed = removed,
    .destroy = destroy,
    .can_attach = can_attach,
    .unbind = unbind,
    .attach = attach,
    .references = "children of the rig",
};

/* --- plain ones: before the rig and after it in the table, and told of the same things --- */

template <int kNumber>
struct Plain {
  static void note_as(const State& state, const char* what, Slot slot) {
    calls.push_back(fmt::format("plain{} {} {}", kNumber, what, tree::address_of(state, slot)));
  }
  static Result<void> bind(Writer&, Slot) {
    calls.push_back(fmt::format("plain{} bind", kNumber));
    return {};
  }
  static void unbind(Writer&, Slot) { calls.push_back(fmt::format("plain{} unbind", kNumber)); }
  static Result<void> create(Writer& writer, Slot slot) {
    note_as(writer, "create", slot);
    return {};
  }
  static void destroy(Writer& writer, Slot slot) { note_as(writer, "destroy", slot); }
  static Result<void> attach(Writer& writer, Slot slot, std::span<const Arrival>) {
    note_as(writer, "attach", slot);
    return {};
  }
};

template <int kNumber>
Subsystem plain(const char* name) {
  using Its = Plain<kNumber>;
  return {
      .id = kNumber,
      .name = name,
      .help = "nothing",
      .attributes = {},
      .hooks = 0,
      .level_from = CTN_HOOKS_TASK,
      .minimum = CTN_LEVEL_ACCOUNTING,
      .bind = Its::bind,
      .create = Its::create,
      .destroy = Its::destroy,
      .unbind = Its::unbind,
      .attach = Its::attach,
  };
}

/* The numbers that are shipped are left out. */
std::vector<const Subsystem*> make_table() {
  static const std::array kPlain = {
      plain<6>("plain6"),   plain<7>("plain7"),   plain<8>("plain8"),   plain<9>("plain9"),
      plain<10>("plain10"), plain<11>("plain11"), plain<12>("plain12"), plain<13>("plain13"),
      plain<14>("plain14"), plain<0>("plain0"),   plain<1>("plain1"),   plain<2>("plain2"),
      plain<3>("plain3"),   plain<4>("plain4"),   plain<5>("plain5")};
  std::vector<const Subsystem*> table;
  std::array<bool, CTN_MAX_SUBSYS> taken = {};
  auto add = [&](const Subsystem& one) {
    if (std::exchange(taken[one.id], true)) return;
    table.push_back(&one);
  };
  for (const Subsystem* one : shipped_subsystems()) add(*one);
  add(kPlain[8]); /* plain14: comes before the rig, the others after */
  add(kRig);
  for (const Subsystem& one : kPlain) add(one);
  return table;
}

}  // namespace

std::span<const Subsystem* const> subsystems() {
  static const std::vector<const Subsystem*> kTable = make_table();
  return kTable;
}

}  // namespace ctnbpf
