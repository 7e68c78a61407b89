#include "walk.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

namespace ctnbpf {

Result<std::vector<char>> run_iterator(const Pins& pins, const std::string& program, pid_t tid) {
  CTN_ASSIGN(UniqueFd prog, pins.open_prog(program));
  bpf_iter_link_info narrow = {};
  narrow.task.tid = static_cast<__u32>(tid);
  LIBBPF_OPTS(bpf_link_create_opts, options);
  if (tid != 0) {
    options.iter_info = &narrow;
    options.iter_info_len = sizeof(narrow);
  }
  UniqueFd link(bpf_link_create(prog.get(), 0, BPF_TRACE_ITER, &options));
  if (!link.valid()) return system_error(fmt::format("make the iterator '{}'", program));
  UniqueFd iterator(bpf_iter_create(link.get()));
  if (!iterator.valid()) return system_error(fmt::format("start the iterator '{}'", program));

  constexpr std::size_t kChunk = 32 * 1024; /* as the kernel has it */
  std::vector<char> out;
  for (;;) {
    std::size_t have = out.size();
    out.resize(have + kChunk);
    ssize_t got = ::read(iterator.get(), out.data() + have, kChunk);
    out.resize(have + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return out;
    if (got < 0 && errno != EINTR && errno != EAGAIN)
      return system_error(fmt::format("read the iterator '{}'", program));
  }
}

Result<void> mark_tasks(Writer& writer) {
  /* 8 bits in a record, where 0 is none. */
  std::uint32_t last = writer.core().walk_mark;
  store(writer.core().walk_mark, last >= CTN_LAST_MARK ? 1 : last + 1);
  CTN_TRY(run_iterator(writer.pins(), "i_mark", 0));
  return {};
}

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
