/* Which program is attached when. */
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/levels.h"
#include "ctnbpf/state.h"

namespace ctnbpf::hooks {

/* Tracing programs (fentry, fexit, fmod_ret, tp_btf) are skipped where a task was preempted inside of
 * them; those of kprobes and of perf's tracepoints run with preemption off, so never, and cost more. */
enum class When {
  kAlways,
  kIfThere, /* not every kernel has what it hangs on, and none that lacks it needs it */
  kIfCalm,  /* where nothing is preempted in the kernel, or the kernel lacks what would be better */
  kIfSkips, /* where programs can be skipped */
  kAllocGateIfThere, /* where files are refused as they are allocated */
  kAllocGateIfCalm,
  kAllocGateIfSkips,
  kOpenGate, /* where they are refused otherwise: FileGate::kOpen */
  kOpenGateIfThere,
  kOpenGateOrSkips, /* or where the gate at the allocation can be skipped */
};

struct HookProgram {
  const char*
      name; /* of the link's pin; and of the program and its pin, unless `program` says another */
  const char* hook;
  ctn_hooks group; /* attached only while a subsystem in use needs this group */
  std::uint8_t
      levels; /* bit (1 << enum ctn_level): levels of the group at which it runs for good */
  /* When it is loaded at such a level; what is not loaded is not missed. */
  When when = When::kAlways;
  const char* program = nullptr; /* a kprobe's program may hang on several functions */

  const char* prog() const { return program != nullptr ? program : name; }
};

/* All hook programs, in the order they are attached: those that take back before those that give. */
std::span<const HookProgram> programs();

/* Is the program to be loaded where the hooks are like this? */
bool is_loaded(const HookProgram& program, const Levels& levels);

/* Is the program loaded only where the kernel skips programs? */
bool is_only_for_skips(std::string_view program);

/* What follows where the kernel skips a run of the program. */
std::string_view consequence(std::string_view program);

/* Attaches what the hierarchies in use need and detaches the rest, unless all is
 * kept (ctn_core::keep_hooks). A hierarchy is in use when it has a container besides its root. */
Result<void> reconcile(Writer& writer);

/* Programs that the hierarchies in use need and that are not attached. */
std::vector<std::string> missing(const State& state);

}  // namespace ctnbpf::hooks
