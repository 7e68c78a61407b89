/* The sets of all containers, as the maps of one subsystem hold them. */
#pragma once

#include <map>
#include <optional>
#include <span>

#include "ctnbpf/state.h"
#include "ctnbpf/subsystem.h"
#include "placement/kind.h"
#include "placement/placement.h"
#include "placement/rules.h"

namespace ctnbpf {

/* A reader's view, valid as long as the state it was opened from. */
class Sets {
 public:
  static Result<Sets> open(const State& state, const PlaceKind& kind);

  const PlaceKind& kind() const { return *kind_; }
  IndexSet own(Slot slot) const;
  IndexSet in_force(Slot slot) const { return read(slot, PLACE_IN_FORCE); }
  IndexSet placed(Slot slot) const { return read(slot, PLACE_PLACED); }
  std::uint32_t flags(Slot slot) const;
  std::uint32_t strayed(Slot slot) const { return load(states_[slot].strayed); }
  std::uint64_t group(Slot root) const { return load(states_[root].group); }
  /* Has it, or a container above it, a set of its own? */
  bool confined(Slot slot) const { return provider(slot) >= CTN_MAX_HIER; }
  Slot provider(Slot slot) const;
  SetTree tree() const;
  IndexSet computed(Slot slot, const IndexSet& online) const;

 protected:
  IndexSet read(Slot slot, place_set which) const;
  std::size_t at(Slot slot, place_set which) const {
    return (std::size_t{slot} * PLACE_SETS + which) * place_words();
  }

  const State* state_ = nullptr;
  const PlaceKind* kind_ = nullptr;
  std::span<const place_state> states_;
  std::span<const std::uint64_t> words_;
  const std::map<const void*, std::uint64_t>* pending_ = nullptr;

 private:
  mutable std::optional<IndexSet> all_; /* of a root; read when it is first asked for */
};

/* The writer's. own() and flags() are what they will be when the settings of the command at work that
 * were prepared so far are made. */
class WritableSets : public Sets {
 public:
  static Result<WritableSets> open(Writer& writer, const PlaceKind& kind);

  /* Sets everything of a new container, or of a root. */
  void reset(Slot slot, std::uint32_t flags);
  /* Writes the set where it does not count yet; what is returned makes it count. */
  Change prepare_own(Slot slot, const IndexSet& set);
  Change prepare_flags(Slot slot, std::uint32_t flags);
  Change prepare_flag(Slot slot, place_flag flag, bool on);
  void set_in_force(Slot slot, const IndexSet& set) { write(slot, PLACE_IN_FORCE, set); }
  void set_placed(Slot slot, const IndexSet& set) { write(slot, PLACE_PLACED, set); }
  void set_unsettled(Slot slot, bool on);
  void set_strayed(Slot slot, std::uint32_t count) { store(writable_[slot].strayed, count); }
  void set_group(Slot root, std::uint64_t inode) {
    store(writable_[root].group, static_cast<__u64>(inode));
  }

 private:
  void write(Slot slot, place_set which, const IndexSet& set);

  Writer* writer_ = nullptr;
  std::span<place_state> writable_;
  std::span<std::uint64_t> writable_words_;
};

}  // namespace ctnbpf
