/* memset, kernel side: nothing but its maps. The kernel lets no program see where memory is to come
 * from. */
#ifndef CTNBPF_SUBSYSTEMS_MEMSET_BPF_H
#define CTNBPF_SUBSYSTEMS_MEMSET_BPF_H

#include "memset/memset.h"
#include "placement/placement.bpf.h"

PLACE_MAPS(memset);
PLACE_CONFINES(memset)

#endif
