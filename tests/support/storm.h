/* How long tests that do everything at once go on. */
#pragma once

#include <cstdlib>

namespace ctnbpf::test {

/* `CTNBPF_STORM_SECONDS=60` for the long form. */
inline int storm_seconds() {
  const char* text = std::getenv("CTNBPF_STORM_SECONDS");
  return text != nullptr ? std::atoi(text) : 4;
}

}  // namespace ctnbpf::test
