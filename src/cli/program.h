/* ctnbpf, the command, as a function: so that a test can run it in a process of its own making. */
#pragma once

namespace ctnbpf::cli {

/* Does what `argv` says; the exit code. Nothing throws. */
int run_program(int argc, char** argv);

}  // namespace ctnbpf::cli
