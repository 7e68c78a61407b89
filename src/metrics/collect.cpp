#include <fnmatch.h>

#include "ctnbpf/tree.h"
#include "exposition.h"

namespace ctnbpf::metrics {

namespace {

bool is_transient(const State& state, Slot slot) {
  for (; slot >= CTN_MAX_HIER; slot = state.nodes()[slot].parent)
    if ((state.nodes()[slot].flags & CTN_TRANSIENT) != 0) return true;
  return false;
}

}  // namespace

std::vector<Slot> select(const State& state, const Selection& selection) {
  const bool whole = selection.match.find(':') != std::string::npos;
  auto is_wanted = [&](Slot slot) {
    if (state.nodes()[slot].depth > selection.depth) return false;
    if (!selection.transient && is_transient(state, slot)) return false;
    if (selection.match.empty()) return true;
    std::string address = tree::address_of(state, slot);
    if (!whole) address.erase(0, address.find(':') + 1);
    return ::fnmatch(selection.match.c_str(), address.c_str(), 0) == 0;
  };
  std::vector<Slot> found;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    for (Slot slot : tree::subtree(state, h, tree::Order::kAny))
      if (is_wanted(slot)) found.push_back(slot);
  }
  return found;
}

Result<void> collect(const Pins& pins, const Selection& selection, Format format,
                     std::string_view version, std::FILE* file) {
  auto state = State::open(pins);
  if (!state && state.error().code != ENOENT) return state.error();
  Exposition out(file, format);
  out.build(state.has_value(), version);
  if (state) {
    Meters meters;
    meters.keep_series();
    CTN_TRY(meters.read(*state));
    CTN_ASSIGN(StatTable table, make_stat(*state, meters, select(*state, selection)));
    CTN_TRY(out.machine(*state));
    out.containers(table, meters);
  }
  out.end();
  return {};
}

}  // namespace ctnbpf::metrics
