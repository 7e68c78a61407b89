#include "placement/sets.h"

#include <fmt/format.h>

#include "ctnbpf/tree.h"

namespace ctnbpf {
namespace {

std::string states_map(const PlaceKind& kind) { return std::string(kind.name) + "_states"; }
std::string sets_map(const PlaceKind& kind) { return std::string(kind.name) + "_sets"; }

}  // namespace

Result<Sets> Sets::open(const State& state, const PlaceKind& kind) {
  Sets sets;
  sets.state_ = &state;
  sets.kind_ = &kind;
  CTN_ASSIGN(sets.states_, state.records<place_state>(states_map(kind)));
  CTN_ASSIGN(sets.words_, state.records<std::uint64_t>(sets_map(kind), PLACE_SETS * place_words()));
  return sets;
}

std::uint32_t Sets::flags(Slot slot) const {
  if (pending_ != nullptr)
    if (auto found = pending_->find(&states_[slot].flags); found != pending_->end())
      return static_cast<std::uint32_t>(found->second);
  return load(states_[slot].flags);
}

IndexSet Sets::read(Slot slot, place_set which) const {
  std::vector<std::uint64_t> words(place_words());
  for (std::size_t i = 0; i < words.size(); i++) words[i] = load(words_[at(slot, which) + i]);
  return IndexSet(words);
}

IndexSet Sets::own(Slot slot) const {
  if (slot < CTN_MAX_HIER) {
    if (!all_) all_ = kind_->all();
    return *all_;
  }
  return read(slot, (flags(slot) & PLACE_BANK) != 0 ? PLACE_OWN_OTHER : PLACE_OWN);
}

SetTree Sets::tree() const {
  SetTree tree;
  tree.subsystem = kind_->name;
  tree.list = kind_->list;
  tree.exclusive_name = kind_->exclusive;
  tree.own = [this](Slot slot) { return own(slot); };
  tree.exclusive = [this](Slot slot) {
    return slot < CTN_MAX_HIER || (flags(slot) & PLACE_EXCLUSIVE) != 0;
  };
  tree.parent = [this](Slot slot) {
    return slot < CTN_MAX_HIER
               ? slot
               : std::min<Slot>(state_->nodes()[slot].parent, state_->nodes().size() - 1);
  };
  tree.children = [this](Slot slot) { return tree::children(*state_, slot); };
  tree.name = [this](Slot slot) { return printable(tree::address_of(*state_, slot)); };
  return tree;
}

Slot Sets::provider(Slot slot) const { return tree().provider(slot); }

IndexSet Sets::computed(Slot slot, const IndexSet& online) const {
  return ctnbpf::set_in_force(tree(), slot, online);
}

Result<WritableSets> WritableSets::open(Writer& writer, const PlaceKind& kind) {
  WritableSets sets;
  CTN_ASSIGN(static_cast<Sets&>(sets), Sets::open(writer, kind));
  sets.writer_ = &writer;
  sets.pending_ = &writer.pending();
  CTN_ASSIGN(sets.writable_, writer.records<place_state>(states_map(kind)));
  CTN_ASSIGN(sets.writable_words_,
             writer.records<std::uint64_t>(sets_map(kind), PLACE_SETS * place_words()));
  return sets;
}

void WritableSets::write(Slot slot, place_set which, const IndexSet& set) {
  for (std::size_t i = 0; i < place_words(); i++)
    store(writable_words_[at(slot, which) + i], set.word(i));
}

void WritableSets::set_unsettled(Slot slot, bool on) {
  std::uint32_t flags = load(writable_[slot].flags);
  store(writable_[slot].flags,
        on ? flags | PLACE_UNSETTLED : flags & ~static_cast<__u32>(PLACE_UNSETTLED));
}

void WritableSets::reset(Slot slot, std::uint32_t flags) {
  writable_[slot] = {};
  for (place_set which : {PLACE_OWN, PLACE_OWN_OTHER, PLACE_IN_FORCE, PLACE_PLACED})
    write(slot, which, {});
  store(writable_[slot].flags, flags);
}

Change WritableSets::prepare_flags(Slot slot, std::uint32_t flags) {
  __u32& word = writable_[slot].flags;
  writer_->pending()[&word] = flags;
  /* Not the mark of what the change is put in force by, which comes and goes meanwhile. */
  constexpr __u32 kKept = PLACE_UNSETTLED;
  auto become = [&word](std::uint32_t next) {
    store(word, static_cast<__u32>((next & ~kKept) | (load(word) & kKept)));
  };
  return Change([become, flags] { become(flags); },
                [become, before = load(word)] { become(before); });
}

Change WritableSets::prepare_own(Slot slot, const IndexSet& set) {
  std::uint32_t now = load(writable_[slot].flags) & PLACE_BANK;
  std::uint32_t next = (flags(slot) & ~static_cast<std::uint32_t>(PLACE_BANK)) | (now ^ PLACE_BANK);
  write(slot, now != 0 ? PLACE_OWN : PLACE_OWN_OTHER, set);
  return prepare_flags(slot, next);
}

Change WritableSets::prepare_flag(Slot slot, place_flag flag, bool on) {
  return prepare_flags(slot,
                       on ? flags(slot) | flag : flags(slot) & ~static_cast<std::uint32_t>(flag));
}

}  // namespace ctnbpf
