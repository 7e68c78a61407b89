/* What makes cpuset and memset differ, and what this machine has of both. */
#pragma once

#include <cstdint>

#include "cpuset/cpuset.h"
#include "memset/memset.h"
#include "placement/index_set.h"

namespace ctnbpf {

struct PlaceKind {
  std::uint32_t id;      /* subsystem number */
  const char* name;      /* "cpuset", also of its maps: "cpuset_states", "cpuset_sets" */
  const char* list;      /* "cpus" */
  const char* exclusive; /* "cpu_exclusive" */
  const char* effective; /* "effective_cpus" */
  std::uint32_t limit;   /* numbers are below it */
  IndexSet (*all)();     /* what there is, offline ones too: the set of a root */
  IndexSet (*online)();
};

IndexSet cpus_there();
IndexSet cpus_online();
IndexSet nodes_with_memory();

inline constexpr PlaceKind kCpus = {.id = CTN_CPUSET,
                                    .name = "cpuset",
                                    .list = "cpus",
                                    .exclusive = "cpu_exclusive",
                                    .effective = "effective_cpus",
                                    .limit = PLACE_MAX_CPUS,
                                    .all = cpus_there,
                                    .online = cpus_online};
inline constexpr PlaceKind kNodes = {.id = CTN_MEMSET,
                                     .name = "memset",
                                     .list = "mems",
                                     .exclusive = "mem_exclusive",
                                     .effective = "effective_mems",
                                     .limit = PLACE_MAX_NODES,
                                     .all = nodes_with_memory,
                                     .online = nodes_with_memory};

/* Words that a set of any kind takes on this machine; does not change while it runs. */
std::uint32_t place_words();

/* Bit masks as system calls take them: place_words() words. */
std::vector<unsigned long> mask_of(const IndexSet& set);

}  // namespace ctnbpf
