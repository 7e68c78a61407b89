/* After a writer was killed. */
#pragma once

#include "ctnbpf/state.h"

namespace ctnbpf {

/* Finishes what a killed writer had committed, and makes everything derived anew. Called with the
 * writer lock while `core.dirty` is still set; killed in turn, it is done again from its beginning. */
Result<void> recover(Writer& writer);

}  // namespace ctnbpf
