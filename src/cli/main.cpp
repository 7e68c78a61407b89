#include "program.h"

int main(int argc, char** argv) { return ctnbpf::cli::run_program(argc, argv); }
