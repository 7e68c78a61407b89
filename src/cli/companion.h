/* Commands that are programs of their own, so that no other command loads their libraries. */
#pragma once

#include "context.h"

namespace ctnbpf::cli {

/* Executes `program`, which is beside this one or where it is installed, with `words` and where ctnbpf is
 * pinned. Returns if that fails. */
Result<void> become_companion(const Context& context, const std::string& program,
                              std::vector<std::string> words);

}  // namespace ctnbpf::cli
