/* The BPF object, as one translation unit: all sources share the maps and the inline bodies, and
 * one object needs no linking rules for them. */
#include "hooks.bpf.c"
#include "walk.bpf.c"

char LICENSE[] SEC("license") = "GPL";
