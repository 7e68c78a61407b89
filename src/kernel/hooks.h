/* Hooks as rows of tables: which program hangs where, when it is attached, and how it is tried. What is written in
 * a row is in bpf/hook_rows.h; the tables are the subsystems' and the core's own (bpf/task_hooks.h). */
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/levels.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::hooks {

/* Tracing programs (fentry, fexit, fmod_ret, tp_btf) are skipped where a task was preempted inside of
 * them; those of kprobes and of perf's tracepoints run with preemption off, so never, and cost more. */
enum class When {
  kAlways,
  kIfThere, /* not every kernel has what it hangs on, and none that lacks it needs it */
  kIfCalm,  /* where nothing is preempted in the kernel, or the kernel lacks the standby */
  kIfSkips, /* where programs can be skipped */
};

/* What makes a hook fire, to try it. */
struct Fire {
  bool (*act)() = nullptr; /* says whether it worked; null: the probe is only attached */
  bool late = false;       /* it fires some time after that */
  static constexpr bool kLate = true;
};

/* Probes are loaded by batches of what kernels have, or refuse, together: each load has the kernel's type
 * information read anew, which takes longer than the probe. A batch that is refused is loaded one by one. */
enum class Batch {
  kHooks,     /* what every kernel we know has */
  kKprobes,   /* need no type information */
  kCalls,     /* system calls */
  kNoaccount, /* functions that some kernels do not have */
  kBacking,
  kNone, /* loaded by itself: newer kernels have closed it */
};

/* Programs that do without another if they all work. */
using Better = std::array<const char*, 2>;

struct Hook {
  const char*
      name; /* of the link's pin; and of the program and its pin, unless `program` says another */
  const char* section;              /* "lsm/task_alloc" */
  bool gate = false;                /* it may refuse */
  ctn_hooks group = CTN_HOOKS_TASK; /* attached only while a subsystem in use needs this group */
  std::uint8_t levels =
      0; /* bit (1 << enum ctn_level): levels of the group at which it runs for good */
  /* When it is loaded at such a level; what is not loaded is not missed. */
  When when = When::kAlways;
  bool (*only_if)(const Levels&) = nullptr;
  const char* program = nullptr; /* a kprobe's program may hang on several functions */
  const char* standby = nullptr; /* of kIfCalm: does the same, and is never skipped */
  const char* with = nullptr;    /* nothing without that one */
  const char* like = nullptr;    /* works if that one does; is not tried itself */
  Fire fire = {};
  Batch batch = Batch::kHooks;
  Better better = {}; /* with these nothing else needs it */
  const char* skipped =
      nullptr; /* what follows where the kernel skips a run; null: somebody stands in */

  const char* prog() const { return program != nullptr ? program : name; }
};

/* Expand a row of a table in a scope that uses this namespace. */
#define CTN_HOOK_ROW(hook, on, ...) {.name = #hook, .section = on, .gate = false, __VA_ARGS__},
#define CTN_GATE_ROW(hook, on, ...) {.name = #hook, .section = on, .gate = true, __VA_ARGS__},
#define CTN_COPY_ROW(hook, on, ...) {.name = #hook, .section = on, .gate = false, __VA_ARGS__},

inline constexpr std::uint8_t kStrict = 1 << CTN_LEVEL_STRICT;
inline constexpr std::uint8_t kFallback = 1 << CTN_LEVEL_FALLBACK;
inline constexpr std::uint8_t kAccounting = 1 << CTN_LEVEL_ACCOUNTING;
inline constexpr std::uint8_t kGate = kStrict | kFallback;
inline constexpr std::uint8_t kAnyLevel = kStrict | kFallback | kAccounting;

/* A child is born, ends and is reaped: fires every hook of a task's life. Says whether fork worked. */
bool live_and_die();

/* A table, and what the levels of its groups are when its hooks, and those of a task's life, were tried. */
struct HookTable {
  std::span<const Hook> rows;
  void (*find_levels)(Levels& levels);
};

/* That of a task's life. */
extern const HookTable kTaskHooks;

/* All tables, in the order their programs are attached (subsystems/hooks.cpp). */
std::span<const HookTable* const> tables();

template <typename One>
void each_hook(const One& one) {
  for (const HookTable* table : tables())
    for (const Hook& hook : table->rows) one(hook);
}

/* Is the program to be loaded where the hooks are like this? */
bool is_loaded(const Hook& hook, const Levels& levels);

/* Is the program loaded only where the kernel skips programs? */
bool is_only_for_skips(std::string_view program);

/* What follows where the kernel skips a run of the program. */
const char* consequence(const Hook& hook);

/* Which programs are to be attached. */
struct Need {
  std::uint32_t groups = 0;                            /* bits (1 << enum ctn_hooks) */
  std::span<const std::uint32_t, CTN_HOOKS_NR> levels; /* of the groups, as loaded */
  bool keep = false;                                   /* those that are attached stay so */
};

/* Attaches what is needed and detaches the rest (of plain memory: nothing). `before_first` is called when nothing is attached yet. */
Result<void> reconcile(const Pins& pins, const Need& need,
                       Result<void> (*before_first)(const Pins&));

/* Programs that are needed and not attached. */
std::vector<std::string> missing(const Pins& pins, const Need& need);

/* Returns when no program of these pins hangs on anything: links go a moment after their pins. */
void wait_until_detached(const Pins& pins);

}  // namespace ctnbpf::hooks
