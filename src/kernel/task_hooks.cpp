/* The hooks of a task's life: their rows, how they are fired, and the level they come to. */
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/hooks.h"
#include "task_hooks.h"

namespace ctnbpf::hooks {

bool live_and_die() {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  if (pid < 0) return false;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return true;
}

namespace {

constexpr Better kStrictTask = {"l_task_alloc", "l_task_free"};

constexpr Hook kRows[] = {CTN_TASK_HOOKS(CTN_HOOK_ROW, CTN_GATE_ROW, CTN_COPY_ROW)};

void find_levels(Levels& levels) {
  std::uint32_t& task = levels.level[CTN_HOOKS_TASK];
  bool counts = levels.works("t_exit");
  if (levels.works("l_task_alloc") && levels.works("l_task_free") && counts)
    task = CTN_LEVEL_STRICT;
  else if (levels.works("f_task_alloc") && levels.works("f_task_free") &&
           levels.works("t_newtask") && levels.works("t_task_free") && counts)
    task = CTN_LEVEL_FALLBACK;
  else if (levels.works("t_newtask") && levels.works("t_task_free") && counts)
    task = CTN_LEVEL_ACCOUNTING;
  if (levels.works("f_release")) levels.level[CTN_HOOKS_REAP] = task;
}

}  // namespace

const HookTable kTaskHooks{kRows, find_levels};

}  // namespace ctnbpf::hooks
