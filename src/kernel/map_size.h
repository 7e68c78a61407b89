/* How large the maps of a BPF object are that is open and not yet loaded. */
#pragma once

#include <cstdint>
#include <string>

#include "ctnbpf/result.h"

struct bpf_map;
struct bpf_object;

namespace ctnbpf {

/* Gives the array `name` so many entries: a map, or the data section `.data.NAME`, which is one element in
 * the object (CTN_SECTION in bpf/section.bpf.h). False: there is neither. */
Result<bool> size_map(bpf_object* object, const std::string& name, std::uint32_t entries);

/* Has the object use the map behind `fd` as a data section, larger than its own may it be.
 *
 * libbpf gives sections a size since 1.3. Before, it takes a section's map to be as large as the section is
 * in the object, where it maps it and unmaps it. So it is given one of that size, and then the descriptor
 * it has of that is made to be one of `fd`'s, which is what the programs get. */
Result<void> use_section(bpf_map* map, int fd);

}  // namespace ctnbpf
