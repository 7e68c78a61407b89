#include "plain_state.h"

#include <array>
#include <bit>
#include <cstdlib>

#include "kernel/mapping.h"
#include "kernel/plain_memory.h"
#include "service/loaded.h"

namespace ctnbpf::test {
namespace {

constexpr std::uint32_t kObjects = 1024;

Pins make_pins(std::uint32_t containers) {
  std::uint32_t slots = containers + CTN_MAX_HIER;
  Pins pins(std::make_shared<PlainMemory>(
      std::map<std::string, std::uint32_t>{{"nodes", slots},
                                           {"infos", slots},
                                           {"name_index", std::bit_ceil(slots)},
                                           {"task_keys", places_for(kObjects)},
                                           {"task_records", places_for(kObjects)},
                                           {"file_keys", places_for(kObjects)},
                                           {"file_records", places_for(kObjects)}}));
  std::array<std::uint32_t, CTN_HOOKS_NR> levels;
  levels.fill(CTN_LEVEL_STRICT);
  auto core = Mapping::open(pins, "core", sizeof(ctn_core), 1, true);
  LoadSettings settings{.max_containers = containers, .max_tasks = kObjects, .max_files = kObjects};
  begin_core(core->as<ctn_core>()[0], settings, levels, 2);
  return pins;
}

}  // namespace

PlainState::PlainState(std::uint32_t containers) : pins_(make_pins(containers)) {}

Writer PlainState::writer() const {
  auto writer = Writer::take(pins_, UniqueFd(), Writer::Slots::kAll);
  if (!writer) std::abort(); /* it needs nothing that can be missing */
  writer->begin();
  return std::move(*writer);
}

State PlainState::state() const {
  auto state = State::open(pins_);
  if (!state) std::abort();
  return std::move(*state);
}

}  // namespace ctnbpf::test
