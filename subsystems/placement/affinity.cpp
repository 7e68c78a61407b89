#include "placement/affinity.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "placement/kind.h"
#include "placement/placement.h"

namespace ctnbpf::affinity {

std::optional<IndexSet> online_mask(pid_t tid) {
  std::array<std::uint64_t, PLACE_MAX_WORDS> words = {};
  long bytes = ::syscall(SYS_sched_getaffinity, tid, sizeof(words), words.data());
  if (bytes < 0) return std::nullopt;
  return IndexSet(std::span(words).first(static_cast<std::size_t>(bytes) / sizeof(std::uint64_t)));
}

IndexSet mask_of_thread(pid_t tid) { return online_mask(tid).value_or(IndexSet()); }

Result<void> set_mask(pid_t tid, const IndexSet& set) {
  std::vector<unsigned long> mask = mask_of(set);
  if (::syscall(SYS_sched_setaffinity, tid, mask.size() * sizeof(mask[0]), mask.data()) == 0)
    return {};
  if (errno == EBUSY) /* and the kernel admits no other set for it, where that is all of them */
    return Error{
        EBUSY,
        fmt::format("task {} is a deadline task (SCHED_DEADLINE), whose CPUs the kernel does "
                    "not let be changed: leave it where it is, or give it another policy with "
                    "`chrt` first",
                    tid)};
  return system_error(fmt::format("set the CPUs of task {} to '{}'", tid, set.to_string()));
}

Result<void> move_pages(pid_t pid, const IndexSet& nodes) {
  std::vector<unsigned long> from = mask_of(kNodes.all().without(nodes));
  std::vector<unsigned long> to = mask_of(nodes & kNodes.online());
  /* The kernel takes one bit less than it is told. */
  unsigned long bits = from.size() * 64 + 1;
  if (::syscall(SYS_migrate_pages, pid, bits, from.data(), to.data()) >= 0)
    return {};                                      /* pages left behind: busy */
  if (errno == ESRCH || errno == EINVAL) return {}; /* gone; or it has no memory of its own */
  return system_error(
      fmt::format("move the pages of process {} to nodes '{}'", pid, nodes.to_string()));
}

Result<void> bind_memory(const IndexSet& nodes) {
  std::vector<unsigned long> mask = mask_of(nodes);
  if (::syscall(SYS_set_mempolicy, MPOL_BIND, mask.data(), mask.size() * 64 + 1) == 0) return {};
  return system_error(fmt::format("bind memory to nodes '{}'", nodes.to_string()));
}

}  // namespace ctnbpf::affinity
