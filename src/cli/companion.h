/* Commands that are programs of their own, so that no other command loads their libraries. */
#pragma once

#include "context.h"

namespace ctnbpf::cli {

/* Where a program of ours is: beside this one, as they are built, or where they are installed; else its name. */
std::string find_program(const std::string& name);

/* Executes `program`(find_program) with `words` and where ctnbpf is
 * pinned. Returns if that fails. */
Result<void> become_companion(const Context& context, const std::string& program,
                              std::vector<std::string> words);

}  // namespace ctnbpf::cli
