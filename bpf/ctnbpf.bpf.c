/* The BPF object, as one translation unit: all sources share the maps and the inline bodies, and
 * one object needs no linking rules for them. */
#include "subsystems.bpf.h"

#include "task_hooks.bpf.h"
#include "calls.bpf.h"
#include "walk.bpf.h"
#include "programs.bpf.h"

char LICENSE[] SEC("license") = "GPL";
