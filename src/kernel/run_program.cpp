#include "kernel/run_program.h"

#include <bpf/bpf.h>

namespace ctnbpf {

Result<std::uint32_t> run_program(const UniqueFd& program, std::span<const std::uint64_t> arguments,
                                  int cpu) {
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments.data(),
              .ctx_size_in = static_cast<__u32>(arguments.size_bytes()));
  if (cpu != kAnyCpu) {
    options.flags = BPF_F_TEST_RUN_ON_CPU;
    options.cpu = static_cast<__u32>(cpu);
  }
  if (int err = bpf_prog_test_run_opts(program.get(), &options); err != 0)
    return system_error(-err, "run a program");
  return options.retval;
}

}  // namespace ctnbpf
