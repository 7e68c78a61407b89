/* What this kernel can do, found by making each hook fire. */
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/result.h"

namespace ctnbpf {

/* One program of the probe object and what became of it. */
struct ProbedHook {
  const char* program; /* "l_task_alloc": the same name as the real program of that hook */
  const char* hook;    /* "lsm/task_alloc" */
  bool works;
  std::string reason; /* why not; one sentence */
};

struct Levels {
  std::vector<ProbedHook> hooks;
  std::array<std::uint32_t, CTN_HOOKS_NR> level = {}; /* enum ctn_level of each group of hooks */

  /* Can this kernel preempt a task inside of a program? Then tracing programs are skipped meanwhile, on
   * that CPU. LSM programs never are. */
  bool skips = true;

  /* Who refuses forks, and so the level of the whole. */
  std::uint32_t task() const { return level[CTN_HOOKS_TASK]; }

  bool works(const std::string& program) const;
};

/* kNeeded leaves out what would only stand in for hooks that work. */
enum class Probing { kAll, kNeeded };

/* Loads each probe and fires its hook: some 100 ms, leaves nothing behind. Needs root. ENOTSUP: this
 * kernel has no BTF, or no tracepoint that counts tasks. */
Result<Levels> probe_levels(Probing which = Probing::kAll);

const char* level_name(std::uint32_t level); /* "strict", "fallback", "accounting", "none" */

/* Facts that explain a level, read from the running kernel. */
struct KernelFacts {
  std::string release;
  bool lsm_known = false; /* could the list be read? */
  std::string lsm;        /* active list: "lockdown,capability,landlock,yama" */
  bool lsm_has_bpf = false;
  bool btf = false;
  std::string preempt; /* "full", "lazy", "voluntary", "none", or "" if it cannot be read */

  /* Are tasks preempted in the kernel? Yes, if that cannot be told. */
  bool preempts() const { return preempt != "voluntary" && preempt != "none"; }
};
KernelFacts kernel_facts();

/* What to do to reach level strict here; empty if it is reached. One sentence. */
std::string cure_for(const Levels& levels, const KernelFacts& facts);

}  // namespace ctnbpf
