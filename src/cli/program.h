/* ctnbpf, the command, as a function: so that a test can run it in a process of its own making. */
#pragma once

#include <string>
#include <vector>

namespace ctnbpf::cli {

/* Does what `argv` says; the exit code. Nothing throws. */
int run_program(int argc, char** argv);

std::vector<std::string> command_names();

}  // namespace ctnbpf::cli
