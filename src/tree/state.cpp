#include "ctnbpf/state.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/mapping.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {

namespace {
constexpr std::uint32_t kSpareSlots = 64; /* for what a writer makes */
}

struct State::Mapped {
  std::string name;
  Mapping mapping;
  UniqueFd fd = {}; /* if somebody asked for it */
};

State::State() = default;
State::State(State&&) noexcept = default;
State& State::operator=(State&&) noexcept = default;
State::~State() = default;

Result<void> State::load(const Pins& pins, bool writable, Slots slots) {
  pins_ = std::make_unique<Pins>(pins);
  writable_ = writable;

  auto mapped = Mapping::open(pins, "core", sizeof(ctn_core), 1, writable);
  if (!mapped) {
    if (mapped.error().code == ENOENT)
      return Error{ENOENT,
                   fmt::format("not up (nothing is pinned in {}): run `ctnbpf up`, or `ctnbpf "
                               "run`, which does it",
                               pins.root())};
    return mapped.error();
  }
  core_ = mapped->as<ctn_core>().data();
  mappings_.push_back({"core", std::move(*mapped)});
  if (core_->magic != CTN_MAGIC || core_->layout != CTN_LAYOUT)
    return Error{EPROTO, fmt::format("the pins in {} have layout {}, this ctnbpf knows layout {}: "
                                     "nothing was changed; use the version that made them, or run "
                                     "`ctnbpf down --force` and `ctnbpf up`",
                                     pins.root(), core_->layout, CTN_LAYOUT)};

  /* Mapping costs for each page, so a command on a small tree maps a small part. */
  std::uint32_t all = core_->max_containers + CTN_MAX_HIER;
  std::uint32_t used = all;
  if (slots != Slots::kAll)
    used = std::min(all, ctnbpf::load(core_->high_slot) + (writable ? kSpareSlots : 0));
  CTN_ASSIGN(Mapping nodes, Mapping::open(pins, "nodes", sizeof(ctn_node), used, writable));
  CTN_ASSIGN(Mapping infos, Mapping::open(pins, "infos", sizeof(ctn_info), used, writable));
  CTN_ASSIGN(Mapping index, Mapping::open(pins, "name_index", 8, ~0U, writable));
  nodes_ = nodes.as<ctn_node>();
  infos_ = infos.as<ctn_info>();
  name_index_ = index.as<std::uint64_t>();
  if (nodes_.size() < used || infos_.size() < used)
    return Error{EPROTO, fmt::format("the maps in {} are smaller than they say: run `ctnbpf down "
                                     "--force` and `ctnbpf up`",
                                     pins.root())};
  mappings_.push_back({"nodes", std::move(nodes)});
  mappings_.push_back({"infos", std::move(infos)});
  mappings_.push_back({"name_index", std::move(index)});
  return {};
}

Result<State> State::open(const Pins& pins) {
  State state;
  CTN_TRY(state.load(pins, false, Slots::kUsed));
  return state;
}

Result<void*> State::map_records(std::string_view map, std::uint32_t value_size,
                                 std::uint32_t each) const {
  return map_array(map, value_size, static_cast<std::uint32_t>(nodes_.size() * each));
}

Result<void*> State::map_array(std::string_view map, std::uint32_t value_size,
                               std::uint32_t count) const {
  auto is_it = [&](const Mapped& one) { return one.name == map; };
  auto found =
      std::find_if(mappings_.rbegin(), mappings_.rend(), is_it); /* the core's own come first */
  if (found != mappings_.rend()) return static_cast<void*>(found->mapping.as<char>().data());
  CTN_ASSIGN(Mapping mapping,
             Mapping::open(*pins_, std::string(map), value_size, count, writable_));
  if (mapping.size() < count)
    return Error{EPROTO, fmt::format("map '{}' has fewer than {} records", map, count)};
  mappings_.push_back({std::string(map), std::move(mapping)});
  return static_cast<void*>(mappings_.back().mapping.as<char>().data());
}

struct Writer::Lock {
  UniqueFd fd;
  std::function<void()> then;
  ~Lock() {
    fd.reset();
    if (then) then();
  }
};

Writer::Writer() = default;
Writer::Writer(Writer&&) noexcept = default;

Writer::~Writer() {
  if (lock_ && begun_) store(core_->dirty, 0U);
}

Result<int> State::descriptor_of(std::string_view map) const {
  auto found = std::find_if(mappings_.rbegin(), mappings_.rend(),
                            [&](const Mapped& one) { return one.name == map; });
  if (found == mappings_.rend()) return Error{ENOENT, fmt::format("map '{}' is not mapped", map)};
  if (!found->fd.valid()) {
    CTN_ASSIGN(found->fd, pins_->open_map(found->name));
  }
  return found->fd.get();
}

void Writer::when_released(std::function<void()> then) { lock_->then = std::move(then); }

Result<Writer> Writer::take(const Pins& pins, UniqueFd lock, Slots slots) {
  Writer writer;
  CTN_TRY(writer.load(pins, true, slots));
  writer.interrupted_ = ctnbpf::load(writer.core_->dirty) != 0;
  writer.lock_ = std::make_unique<Lock>();
  writer.lock_->fd = std::move(lock);
  return writer;
}

void Writer::begin() {
  store(core_->dirty, 1U);
  begun_ = true;
}

}  // namespace ctnbpf
