/* The service behind release agents and containers whose `run` died. Limits do not need it. */
#pragma once

#include <functional>
#include <string>

#include "ctnbpf/result.h"

namespace ctnbpf {

class Pins;

/* Serves until `stop_fd` can be read, or ctnbpf is taken down. What happened while no agentd ran is
 * dealt with first; then `ready` is called. `log` gets a line for each thing done. ENOENT: not up. */
Result<void> serve_releases(const Pins& pins, int stop_fd, const std::function<void()>& ready,
                            const std::function<void(const std::string&)>& log);

}  // namespace ctnbpf
