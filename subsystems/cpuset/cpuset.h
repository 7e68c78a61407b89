/* cpuset: which CPUs the tasks of a container use. Shared by BPF and the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_H
#define CTNBPF_SUBSYSTEMS_CPUSET_H

#include "placement/placement.h"

/* Subsystem number; the registry in subsystems/registry.cpp and the hooks agree on it. */
#define CTN_CPUSET 1

/* CPU masks that tasks had before they were placed, each kept once, by number from 1 on: a record has the
 * number (`ctn_task.came_with`). */
#define CAME_WITH_MASKS 4096
/* There was no room, or the mask could not be read: as if it had been all CPUs. */
#define CAME_WITH_UNKNOWN 0xffff

/* What the iterator i_came_with is to do. */
enum came_with_request {
  CAME_WITH_REMEMBER, /* for tasks that are confined and have no number yet */
  CAME_WITH_FORGET,   /* for those in the map `came_with_done` that are not confined */
};
struct came_with_state {
  __u32 request; /* enum came_with_request */
  __u32 next;    /* the number the next new mask gets, if it is below `end` */
  __u32 end;
};

#endif
