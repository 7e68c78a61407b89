/* numfiles: open files, the first resource of the bean counters. Shared by BPF and the control
 * plane. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_H

#include "beancounter/beancounter.h"

/* Subsystem number; the registry in src/registry.cpp and the hooks agree on it. */
#define CTN_NUMFILES 4

/* One per charged file, in the table of files (bpf/table.bpf.h). */
struct ctn_file {
  __u32 slot; /* charged, and held by one of its references; 0: none yet */
  __u32 mode; /* BEANS_FLAT: only that container is charged */
} __attribute__((aligned(8)));

/* What the iterator over descriptors prints of a charged file. */
struct ctn_walk_file {
  __u32 tgid;
  __u32 tid;
  __u32 fd;
  __u32 slot;   /* charged */
  __u32 record; /* of the file in the table: the same for every descriptor of one file */
  char comm[16];
};

#endif
