/* The maps of a subsystem of sets, by its name: see placement.h. */
#ifndef CTNBPF_SUBSYSTEMS_PLACEMENT_BPF_H
#define CTNBPF_SUBSYSTEMS_PLACEMENT_BPF_H

#include "ctn.bpf.h"
#include "placement/placement.h"

/* Words of a set; set at load. */
const volatile __u32 place_words = 1;

#define PLACE_MAPS(name)               \
  struct {                             \
    __uint(type, BPF_MAP_TYPE_ARRAY);  \
    __uint(map_flags, BPF_F_MMAPABLE); \
    __uint(max_entries, 1);            \
    __type(key, __u32);                \
    __type(value, struct place_state); \
  } name##_states SEC(".maps");        \
  struct {                             \
    __uint(type, BPF_MAP_TYPE_ARRAY);  \
    __uint(map_flags, BPF_F_MMAPABLE); \
    __uint(max_entries, 1);            \
    __type(key, __u32);                \
    __type(value, __u64);              \
  } name##_sets SEC(".maps")

#endif
