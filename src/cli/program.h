/* ctnbpf, the command, as a function: so that a test can run it in a process of its own making. */
#pragma once

#include <string>
#include <vector>

#include "context.h"

namespace ctnbpf::cli {

/* Changes what the command `name`, whose options are in `app`, does; or says why it cannot be done. */
using Adapt = Result<void> (*)(const std::string& name, CLI::App& app, Context& context);

/* Does what `argv` says; the exit code. Nothing throws. With `adapt` nobody has to be root: it says who has. */
int run_program(int argc, char** argv, Adapt adapt = nullptr);

std::vector<std::string> command_names();

}  // namespace ctnbpf::cli
