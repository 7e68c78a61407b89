#include "kernel/grace.h"

#include <bpf/bpf.h>

#include "ctnbpf/unique_fd.h"

namespace ctnbpf {

void wait_for_programs() {
  /* The kernel promises that a changed map of maps is what all programs see when the system call
   * returns, and so waits for an RCU grace period there. */
  static const UniqueFd inner(bpf_map_create(BPF_MAP_TYPE_ARRAY, "ctn_grace_in", 4, 4, 1, nullptr));
  static const UniqueFd outer = [] {
    LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<__u32>(inner.get()));
    return UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "ctn_grace_out", 4, 4, 1, &options));
  }();
  __u32 key = 0;
  auto value = static_cast<__u32>(inner.get());
  bpf_map_update_elem(outer.get(), &key, &value, BPF_ANY);
}

}  // namespace ctnbpf
