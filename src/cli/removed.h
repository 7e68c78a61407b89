/* `stat --removed` */
#pragma once

#include "context.h"

namespace ctnbpf::cli {

/* Containers that were removed; only those with one of these addresses, if there are any, and with
 * `recursive` all that were below. `format`: table, json or csv. */
Result<void> show_removed(const Context& context, const std::vector<std::string>& addresses,
                          bool recursive, const std::string& format);

}  // namespace ctnbpf::cli
