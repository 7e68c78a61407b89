/* numfiles: open files, the first resource of the bean counters. Shared by BPF and the control
 * plane. */
#ifndef CTNBPF_SUBSYSTEMS_NUMFILES_H
#define CTNBPF_SUBSYSTEMS_NUMFILES_H

#include "beancounter/beancounter.h"

/* Subsystem number; the registry in subsystems/registry.cpp and the hooks agree on it. */
#define CTN_NUMFILES 4

/* One per charged file, in the table of files (bpf/table.bpf.h). Where files are refused before they are
 * allocated (numfiles_gate.bpf.h) also one per inode of a pipe or socket whose files are not made yet, and
 * one per task with a charge for the next file it makes. */
struct ctn_file {
  __u32 slot; /* charged, and held by one of its references; 0: none yet */
  __u32 mode; /* BEANS_FLAT: only that container is charged; and how many more files than one */
} __attribute__((aligned(8)));
#define CTN_FILE_MORE_SHIFT 8
#define ctn_file_more(mode) ((mode) >> CTN_FILE_MORE_SHIFT)

/* What the iterators over descriptors print of a file that is charged, or of one that a member has and
 * that is not. */
struct ctn_walk_file {
  __u32 tgid;
  __u32 tid;
  __u32 fd;
  __u32 slot;    /* charged; else the member's */
  __u64 file;    /* names it: the same for every descriptor of one file */
  __u32 record;  /* of the file in the table */
  __u32 is_path; /* opened with O_PATH */
  char comm[16];
};

#endif
