#include "tasks/moves.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

namespace ctnbpf {

Result<Noted> noted_moves(const State& state, std::uint32_t hierarchy) {
  Noted noted;
  if (load(state.core().hierarchies[hierarchy].notes_moves) == 0) return noted;
  CTN_ASSIGN(UniqueFd map, state.pins().open_map("arrivals"));
  ctn_arrival key = {};
  for (bool first = true; bpf_map_get_next_key(map.get(), first ? nullptr : &key, &key) == 0;
       first = false) {
    Slot from = 0;
    if (key.hierarchy == hierarchy && bpf_map_lookup_elem(map.get(), &key, &from) == 0)
      noted.emplace(key.tid, from == 0 ? hierarchy : from);
  }
  return noted;
}

void forget_moves(const State& state, std::uint32_t hierarchy, const Noted& told) {
  if (load(state.core().hierarchies[hierarchy].notes_moves) == 0) return;
  auto map = state.pins().open_map("arrivals");
  if (!map) return;
  for (const auto& [tid, from] : told) {
    ctn_arrival key = {tid, hierarchy};
    bpf_map_delete_elem(map->get(), &key);
  }
}

}  // namespace ctnbpf
