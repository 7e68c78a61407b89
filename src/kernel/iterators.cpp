#include "kernel/iterators.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

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

}  // namespace ctnbpf
