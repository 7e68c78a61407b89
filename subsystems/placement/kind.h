/* What makes cpuset and memset differ, and what this machine has of both. */
#pragma once

#include <cstdint>

#include "placement/index_set.h"

namespace ctnbpf {

struct PlaceKind {
  std::uint32_t id;        /* subsystem number */
  const char* name;        /* "cpuset", also of its maps: "cpuset_states", "cpuset_sets" */
  const char* list;        /* "cpus" */
  const char* exclusive;   /* "cpu_exclusive" */
  std::uint32_t limit;     /* numbers are below it */
  IndexSet (*all)();       /* what there is, offline ones too: the set of a root */
  IndexSet (*online)();
};

extern const PlaceKind kCpus;
extern const PlaceKind kNodes;

/* Words that a set of any kind takes on this machine; does not change while it runs. */
std::uint32_t place_words();

/* Bit masks as system calls take them: place_words() words. */
std::vector<unsigned long> mask_of(const IndexSet& set);

}  // namespace ctnbpf
