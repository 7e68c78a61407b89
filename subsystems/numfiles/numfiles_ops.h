/* The numfiles subsystem's table, for the registry; and who holds charged files. */
#pragma once

#include <vector>

#include "ctnbpf/subsystem.h"
#include "numfiles/numfiles.h"

namespace ctnbpf {

extern const Subsystem kNumfiles;

/* Every descriptor of every process whose file is charged to a container. Files that are held
 * otherwise (mapped, sent and not yet received) are not seen. */
Result<std::vector<ctn_walk_file>> walk_files(const Pins& pins);

/* The charges themselves: one for each charged file, whoever holds it. */
Result<std::vector<ctn_file>> charged_files(const State& state);

}  // namespace ctnbpf
