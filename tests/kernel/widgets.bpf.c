/* Widgets: a second resource of the bean counters, for tests, which say when one is taken and when it
 * is given back. This is the whole kernel side of it. */
#include "ctn.bpf.h"

#include "events.bpf.h"

#define BEANS widgets
#include "beancounter/beancounter.bpf.h"

/* Both are run with (slot, mode). The slot that refused, or 0. */
SEC("raw_tp")
int take(struct bpf_raw_tracepoint_args *ctx) {
  __u32 slot = ctx->args[0], by = widgets_charge(slot, ctx->args[1]);
  if (by) widgets_refused(slot, by, CTN_EVENT_FILE_REFUSED);
  return by;
}

SEC("raw_tp")
int take_by_force(struct bpf_raw_tracepoint_args *ctx) {
  widgets_force(ctx->args[0], ctx->args[1]);
  return 0;
}

SEC("raw_tp")
int give_back(struct bpf_raw_tracepoint_args *ctx) {
  widgets_uncharge(ctx->args[0], ctx->args[1]);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
