/* Programs that hang on a kprobe or on perf's side of a tracepoint ("kprobe/release_task",
 * "tp/sched/sched_process_exit"). They run with preemption off: no task is ever preempted inside of
 * one, so none is skipped for that, as tracing programs are. A kprobe goes by the name of its function
 * and needs no address. */
#pragma once

#include <string_view>

#include "ctnbpf/result.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::hooks {

bool is_perf_hook(std::string_view hook);

/* The link of the program, which holds the event too. */
Result<UniqueFd> attach_by_perf(const UniqueFd& program, std::string_view hook);

}  // namespace ctnbpf::hooks
