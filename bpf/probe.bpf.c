/* Probes: on each hook a program that counts its runs. The control plane loads one at a time, makes
 * its hook fire and reads the counter; only that proves that a hook works (an LSM program loads and
 * attaches without `bpf` in the LSM list, and never runs). Kept apart from the real programs so that
 * they carry nothing for it. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "numfiles/numfiles_hooks.h"
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

PROBE_GATE(l_task_alloc, "lsm/task_alloc")
PROBE_GATE(f_task_alloc, "fmod_ret/security_task_alloc")
PROBE(l_task_free, "lsm/task_free")
PROBE(f_task_free, "fentry/security_task_free")
PROBE(f_release, "fentry/release_task")
PROBE(t_newtask, "tp_btf/task_newtask")
PROBE(t_moved, "tp_btf/cgroup_attach_task")
PROBE(t_exit, "tp_btf/sched_process_exit")
PROBE(t_task_free, "tp_btf/sched_process_free")
PROBE(t_switch, "tp_btf/sched_switch")
PROBE_GATE(l_file_alloc, "lsm/file_alloc_security")
PROBE_GATE(f_file_alloc, "fmod_ret/security_file_alloc")
PROBE(l_file_free, "lsm/file_free_security")
PROBE(f_file_free, "fentry/security_file_free")
PROBE(k_release, "kprobe/release_task")
PROBE(k_newtask, "kprobe/wake_up_new_task")
PROBE(p_exit, "tp/sched/sched_process_exit")
PROBE(k_task_free, "kprobe/security_task_free")
PROBE_GATE(l_file_open, "lsm/file_open")
PROBE_GATE(l_inode_create, "lsm/inode_create")
PROBE_GATE(l_inode_alloc, "lsm/inode_alloc_security")
PROBE(l_inode_free, "lsm/inode_free_security")
PROBE_GATE(l_sock_create, "lsm/socket_create")
PROBE(k_file_init, "kprobe/file_init_path")
PROBE(k_task_alloc, "kprobe/security_task_alloc")
PROBE(k_file_free, "kprobe/security_file_free")
PROBE(k_file_alloc, "kprobe/security_file_alloc")
PROBE(k_dentry_open, "kprobe/do_dentry_open")
PROBE_GATE(l_perf_open, "lsm/perf_event_open")
#define PROBE_SPECIAL(call, kprobe) PROBE_GATE(a_##call, "fmod_ret/" CTN_SYSCALL(call))
PROBE(k_special, "kprobe/" CTN_SYSCALL(eventfd2))
PROBE(k_sigfd, "kprobe/" CTN_SYSCALL(signalfd4))
PROBE(r_special, "kretprobe/" CTN_SYSCALL(eventfd2))
CTN_SPECIAL_FILES(PROBE_SPECIAL)
PROBE(k_affinity, "kprobe/sched_setaffinity")
PROBE(f_affinity, "fentry/sched_setaffinity")
PROBE_GATE(l_setscheduler, "lsm/task_setscheduler")
PROBE_GATE(f_setscheduler, "fmod_ret/security_task_setscheduler")
PROBE(k_setscheduler, "kprobe/security_task_setscheduler")
PROBE(r_affinity, "kretprobe/sched_setaffinity")
PROBE(f_file_noacct, "fentry/alloc_empty_file_noaccount")
PROBE(x_file_noacct, "fexit/alloc_empty_file_noaccount")
PROBE(f_file_backing, "fentry/alloc_empty_backing_file")
PROBE(x_file_backing, "fexit/alloc_empty_backing_file")
PROBE(k_file_noacct, "kprobe/alloc_empty_file_noaccount")
PROBE(r_file_noacct, "kretprobe/alloc_empty_file_noaccount")
PROBE(k_file_backing, "kprobe/alloc_empty_backing_file")
PROBE(r_file_backing, "kretprobe/alloc_empty_backing_file")

char LICENSE[] SEC("license") = "GPL";
