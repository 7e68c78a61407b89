#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "ctnbpf/containers.h"
#include "ctnbpf/namespaces.h"
#include "ctnbpf/service.h"
#include "ctnbpf/subsystem.h"
#include "service/loaded.h"
#include "service/pinning.h"
#include "tree/lock.h"

namespace ctnbpf {

Result<bool> bring_up(const Pins& pins, const LoadSettings& settings) {
  CTN_ASSIGN(UniqueFd lock, take_writer_lock());
  CTN_TRY(require_bpffs(std::filesystem::path(pins.root()).parent_path()));
  CTN_TRY(require_place(pins));
  CTN_TRY(remove_left_over_pins(pins));
  bool fresh = !pins.exist();
  if (fresh) {
    CTN_ASSIGN(Loaded loaded, Loaded::load(settings));
    CTN_TRY(loaded.pin(pins));
  }
  CTN_ASSIGN(Writer writer, Writer::open(pins, std::move(lock)));
  if (settings.default_layout) CTN_TRY(ensure_hierarchy(writer));
  return fresh;
}

Result<void> ensure_hierarchy(Writer& writer) {
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(writer, h)) return {};
  std::vector<std::string> names;
  for (const Subsystem* subsystem : subsystems())
    if (level_of(*subsystem, writer.core().level) != CTN_LEVEL_NONE)
      names.emplace_back(subsystem->name);
  CTN_TRY(tree::create_hierarchy(writer, "default", names));
  return {};
}

namespace {

/* The pins stay after all: so does everybody where the subsystems had them. */
Result<void> hold_again(Writer& writer) {
  Result<void> result;
  for (const Subsystem* subsystem : subsystems())
    if (subsystem->refresh != nullptr && writer.core().bound[subsystem->id] != 0)
      if (auto held = subsystem->refresh(writer, true); result && !held) result = held;
  return result;
}

/* Has the subsystems let go of the tasks, and takes the pins away. */
Result<void> let_go(Writer* writer, const Pins& pins, bool force) {
  for (const Subsystem* subsystem : subsystems())
    if (writer != nullptr && subsystem->release != nullptr &&
        writer->core().bound[subsystem->id] != 0) {
      auto released = subsystem->release(*writer);
      if (!released && !force) return released;
    }
  if (writer != nullptr) (void)leftovers(*writer, true);
  CTN_TRY(make_directory(being_removed(pins)));
  auto moved = move_pins(pins.root() + "/maps", being_removed(pins) + "/maps");
  if (!moved) (void)::rmdir(being_removed(pins).c_str());
  return moved;
}

}  // namespace

Result<bool> take_down(const Pins& pins, bool force) {
  CTN_ASSIGN(UniqueFd lock, take_writer_lock());
  if (!pins.exist()) CTN_TRY(require_place(pins));
  CTN_TRY(remove_left_over_pins(pins));
  if (!pins.exist()) return false;
  if (!force) {
    CTN_ASSIGN(State state, State::open(pins));
    for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++)
      if (std::uint32_t live = live_tasks(state.nodes()[slot]); live != 0)
        return Error{
            EBUSY,
            fmt::format("{} has {} live task{}: end or move them, or use --force to "
                        "drop all limits",
                        printable(tree::address_of(state, slot)), live, live == 1 ? "" : "s")};
  }
  /* Pins of another version cannot be read; they go all the same. */
  auto writer = Writer::open(pins, std::move(lock));
  if (!writer) {
    CTN_ASSIGN(lock, take_writer_lock());
  }
  if (writer) CTN_TRY(refuse_unseen(*writer)); /* who is placed could not be let go */
  if (auto gone = let_go(writer ? &*writer : nullptr, pins, force); !gone) {
    auto held = writer ? hold_again(*writer) : Result<void>();
    if (held) return gone.error();
    return Error{gone.error().code,
                 fmt::format("{}; and what was let go is not all held again ({}): `ctnbpf fsck "
                             "--repair` does that",
                             gone.error().what, held.error().what)};
  }
  CTN_TRY(remove_left_over_pins(pins));
  return true;
}

}  // namespace ctnbpf
