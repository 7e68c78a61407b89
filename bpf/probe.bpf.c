/* Probes: on each hook a program that counts its runs. The control plane loads one at a time, makes
 * its hook fire and reads the counter; only that proves that a hook works (an LSM program loads and
 * attaches without `bpf` in the LSM list, and never runs). Kept apart from the real programs so that
 * they carry nothing for it. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "hooks.h"
#include "probe.h"

struct ctn_probe probe SEC(".data.probe");

/* A byte for each run, so that the control plane can wait for the first. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} runs SEC(".maps");

static __always_inline void tell(void) {
  char byte = 0;
  __sync_fetch_and_add(&probe.runs, 1);
  bpf_ringbuf_output(&runs, &byte, sizeof(byte), 0); /* when it is full there was a run before */
}

#define PROBE(name, hook) \
  SEC(hook)               \
  int name(void *ctx) {   \
    tell();               \
    return 0;             \
  }

/* A system call's result has 64 bits. */
#define PROBE_GATE(name, hook)                                                 \
  SEC(hook)                                                                    \
  long name(void *ctx) {                                                       \
    tell();                                                                    \
    __u32 pid = bpf_get_current_pid_tgid() >> 32;                              \
    return probe.refuse_pid && pid == probe.refuse_pid ? -11 /* EAGAIN */ : 0; \
  }

#define NO_PROBE(name, hook, ...)
#define PROBE_OF(name, hook, ...) PROBE(name, hook)
#define GATE_OF(name, hook, ...) PROBE_GATE(name, hook)
CTN_HOOKS(PROBE_OF, GATE_OF, NO_PROBE)

char LICENSE[] SEC("license") = "GPL";
