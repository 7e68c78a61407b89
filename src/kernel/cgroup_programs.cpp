#include "kernel/cgroup_programs.h"

#include <bpf/bpf.h>

#include <array>
#include <cerrno>

namespace ctnbpf {

std::uint32_t cgroup_programs(int group) {
  /* Of each kind that a group can have on the oldest kernel. For kinds of other things the number of the
   * descriptor would mean another thing. */
  constexpr std::array kKinds = {
      BPF_CGROUP_INET_INGRESS,
      BPF_CGROUP_INET_EGRESS,
      BPF_CGROUP_INET_SOCK_CREATE,
      BPF_CGROUP_INET_SOCK_RELEASE,
      BPF_CGROUP_SOCK_OPS,
      BPF_CGROUP_DEVICE,
      BPF_CGROUP_INET4_BIND,
      BPF_CGROUP_INET6_BIND,
      BPF_CGROUP_INET4_CONNECT,
      BPF_CGROUP_INET6_CONNECT,
      BPF_CGROUP_INET4_POST_BIND,
      BPF_CGROUP_INET6_POST_BIND,
      BPF_CGROUP_UDP4_SENDMSG,
      BPF_CGROUP_UDP6_SENDMSG,
      BPF_CGROUP_UDP4_RECVMSG,
      BPF_CGROUP_UDP6_RECVMSG,
      BPF_CGROUP_SYSCTL,
      BPF_CGROUP_GETSOCKOPT,
      BPF_CGROUP_SETSOCKOPT,
      BPF_CGROUP_INET4_GETPEERNAME,
      BPF_CGROUP_INET6_GETPEERNAME,
      BPF_CGROUP_INET4_GETSOCKNAME,
      BPF_CGROUP_INET6_GETSOCKNAME,
  };
  std::uint32_t all = 0;
  for (bpf_attach_type kind : kKinds) {
    __u32 count = 0;
    /* Too small a buffer: the number is told all the same. */
    if (int err = bpf_prog_query(group, kind, BPF_F_QUERY_EFFECTIVE, nullptr, nullptr, &count);
        err == 0 || err == -ENOSPC)
      all += count;
  }
  return all;
}

}  // namespace ctnbpf
