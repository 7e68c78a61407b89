/* The programs of subsystems that hang on hooks of their own, or are run by the control plane. */
#ifndef CTNBPF_SUBSYSTEMS_PROGRAMS_BPF_H
#define CTNBPF_SUBSYSTEMS_PROGRAMS_BPF_H

#include "cpuset/cpuset_programs.bpf.h"
#include "numfiles/numfiles_programs.bpf.h"

#endif
