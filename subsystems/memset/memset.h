/* memset: which memory nodes the tasks of a container use. */
#ifndef CTNBPF_SUBSYSTEMS_MEMSET_H
#define CTNBPF_SUBSYSTEMS_MEMSET_H

#include "placement/placement.h"

/* Subsystem number; see subsystems/registry.cpp. */
#define CTN_MEMSET 2

#endif
