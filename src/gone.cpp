/* Records of tasks that are gone though no hook has seen them freed. Below level strict that happens:
 * a trampoline is skipped under preempt=full, and there are kernels that run no tracing programs
 * while certain processes are current (their init, say); a task is freed in a softirq, on top of
 * whatever runs. Such a record would hold its removed container, and what is charged for the task,
 * until the address is used again. */
#include "ctnbpf/abi.h"
#include "ctnbpf/membership.h"
#include "mapping.h"
#include "run_program.h"
#include "walk.h"

namespace ctnbpf {
namespace {

/* A record whose task was met by one of the last two walks is in use (is_gone() in
 * bpf/membership.bpf.h looks again). */
bool met(const ctn_task& record, std::uint32_t mark) {
  std::uint16_t seen = load(record.seen);
  return seen != 0 && ctn_met(seen, mark);
}

}  // namespace

Result<std::uint32_t> forget_gone(Writer& writer) {
  if (writer.core().level[CTN_HOOKS_TASK] >= CTN_LEVEL_STRICT) return 0U;
  const Pins& pins = writer.pins();
  CTN_ASSIGN(Mapping buckets, Mapping::open(pins, "task_buckets", sizeof(ctn_bucket), ~0U, false));
  CTN_ASSIGN(Mapping records, Mapping::open(pins, "task_records", sizeof(ctn_task), ~0U, false));
  CTN_ASSIGN(UniqueFd program, pins.open_prog("s_forget"));
  /* Twice: a walk may miss a thread that becomes its process's leader by exec meanwhile. */
  if (writer.core().walk_mark >= 0xfffe)
    store(writer.core().walk_mark, 0U); /* a record has 16 bits */
  for (int walk = 0; walk < 2; walk++) {
    store(writer.core().walk_mark, writer.core().walk_mark + 1);
    CTN_TRY(run_iterator(pins, "i_mark", 0));
  }
  std::uint32_t forgotten = 0;
  for (std::size_t b = 0; b < buckets.size(); b++)
    for (std::size_t i = 0; i < CTN_BUCKET_KEYS; i++) {
      std::uint64_t key = load(buckets.as<ctn_bucket>()[b].key[i]);
      if (key == 0 || met(records.as<ctn_task>()[b * CTN_BUCKET_KEYS + i], writer.core().walk_mark))
        continue;
      CTN_ASSIGN(std::uint32_t gone, run_program(program, std::span(&key, 1), kAnyCpu));
      forgotten += gone;
    }
  return forgotten;
}

}  // namespace ctnbpf
