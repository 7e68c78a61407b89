/* What the probes and the control plane share. */
#ifndef CTNBPF_BPF_PROBE_H
#define CTNBPF_BPF_PROBE_H

#include <linux/types.h>

struct ctn_probe {
  __u64 runs;
  __u32 refuse_pid; /* a fork of this process is to be refused */
  __u32 reserved;
};

#endif
