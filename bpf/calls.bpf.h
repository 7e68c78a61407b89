/* Programs that hang on no hook: the control plane runs them. */
#ifndef CTNBPF_BPF_CALLS_BPF_H
#define CTNBPF_BPF_CALLS_BPF_H

#include "membership.bpf.h"

/* Run by the control plane, which took a child of the container args[0] away. */
SEC("raw_tp")
int s_emptied(struct bpf_raw_tracepoint_args *ctx) { return node_emptied(ctx->args[0]); }

/* Run by the control plane about the task_struct that was at args[0] and whose freeing it thinks was
 * missed (src/tree/gone.cpp): 1 if it was. */
SEC("raw_tp")
int s_forget(struct bpf_raw_tracepoint_args *ctx) {
  const struct task_struct *task = (const struct task_struct *)ctx->args[0];
  struct ctn_task *record = task_find(task);
  if (!record || !is_gone(task, record)) return 0;
  forget(task);
  return 1;
}

#endif
