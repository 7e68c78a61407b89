/* BPF programs that others have attached to control groups. Internal. */
#pragma once

#include <cstdint>

namespace ctnbpf {

/* How many programs are in force for who is in this group of cgroup v2: devices, network, sysctl. */
std::uint32_t cgroup_programs(int group);

}  // namespace ctnbpf
