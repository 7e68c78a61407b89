/* cpuset: which CPUs the tasks of a container use. Shared by BPF and the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_CPUSET_H
#define CTNBPF_SUBSYSTEMS_CPUSET_H

#include "placement/placement.h"

/* Subsystem number; the registry in src/registry.cpp and the hooks agree on it. */
#define CTN_CPUSET 1

#endif
