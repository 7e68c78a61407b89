/* The maps of a subsystem of sets, by its name: see placement.h. */
#ifndef CTNBPF_SUBSYSTEMS_PLACEMENT_BPF_H
#define CTNBPF_SUBSYSTEMS_PLACEMENT_BPF_H

#include "ctn.bpf.h"
#include "placement/placement.h"

/* Words of a set; set at load. */
const volatile __u32 place_words = 1;

/* The process that places tasks just now (s_placing), or 0. One that was killed leaves its number; until the
 * next one places, whoever gets that number may take members out of their groups, and is not told of. */
struct {
  __u32 pid;
} placing SEC(".data.placing");

static __always_inline bool is_placing(void) {
  return (__u32)(bpf_get_current_pid_tgid() >> 32) == *(volatile __u32 *)&placing.pid;
}

/* Does the set in force for `slot` keep anything out? */
#define PLACE_CONFINES(name)                                             \
  static __always_inline bool name##_confines(__u32 slot) {              \
    if (slot < CTN_MAX_HIER) return false;                               \
    for (__u32 i = 0; i < PLACE_MAX_WORDS; i++) {                        \
      if (i >= place_words) break;                                       \
      __u32 at = (slot * PLACE_SETS + PLACE_IN_FORCE) * place_words + i; \
      __u64 *allowed = bpf_map_lookup_elem(&name##_sets, &at);           \
      if (allowed && ~*(volatile __u64 *)allowed) return true;           \
    }                                                                    \
    return false;                                                        \
  }

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
