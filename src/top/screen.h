/* `top` on a terminal. */
#pragma once

#include <string>

#include "model.h"

namespace ctnbpf::top {

struct Options {
  std::string pin_root;
  std::string address;
  std::string column;
  double interval = 2; /* seconds */
  bool batch = false;
  std::uint64_t count = 0; /* of batches; 0: for ever */
};

/* On the terminal until `q`, or in batches. Fails if the terminal cannot do what is needed, there is no such
 * column or container, or nothing is up. */
Result<void> show(Model& model, const Options& options);
Result<void> show_on_screen(Model& model, const Options& options);

}  // namespace ctnbpf::top
