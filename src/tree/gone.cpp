/* Records of tasks that are gone though no hook has seen them freed. Below level strict that happens:
 * a trampoline is skipped under preempt=full, and there are kernels that run no tracing programs
 * while certain processes are current (their init, say); a task is freed in a softirq, on top of
 * whatever runs. Such a record would hold its removed container, and what is charged for the task,
 * until the address is used again. */
#include "ctnbpf/abi.h"
#include "tree/members.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/namespaces.h"
#include "kernel/object_table.h"
#include "kernel/run_program.h"

namespace ctnbpf {
namespace {

/* A record whose task was met by one of the last two walks is in use (is_gone() in
 * bpf/membership.bpf.h looks again). */
bool met(const ctn_task& record, std::uint32_t mark) {
  std::uint8_t seen = load(record.seen);
  return seen != 0 && ctn_met(seen, mark);
}

}  // namespace

Result<std::uint32_t> forget_gone(Writer& writer) {
  if (writer.core().level[CTN_HOOKS_TASK] >= CTN_LEVEL_STRICT) return 0U;
  /* Whom no walk can meet from here is not gone. */
  CTN_ASSIGN(auto unseen, unseen_tasks(
                              writer, [](Slot) { return true; }, Exited::kToo));
  if (!unseen.empty()) return 0U;
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(writer.pins(), "task", sizeof(ctn_task), false));
  CTN_ASSIGN(UniqueFd program, writer.pins().open_prog("s_forget"));
  /* Twice: a walk may miss a thread that becomes its process's leader by exec meanwhile. The marks
   * are to follow each other (ctn_met), so the round does not end between them. */
  if (writer.core().walk_mark >= CTN_LAST_MARK - 1) store(writer.core().walk_mark, 0U);
  for (int walk = 0; walk < 2; walk++) CTN_TRY(mark_tasks(writer));
  std::vector<std::uint64_t> unmet;
  tasks.each<ctn_task>([&](std::uint64_t key, const ctn_task& record) {
    if (!met(record, writer.core().walk_mark)) unmet.push_back(key);
  });
  std::uint32_t forgotten = 0;
  for (std::uint64_t key : unmet) {
    CTN_ASSIGN(std::uint32_t gone, run_program(program, std::span(&key, 1), kAnyCpu));
    forgotten += gone;
  }
  return forgotten;
}

}  // namespace ctnbpf
