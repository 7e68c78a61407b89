/* From what files say to one layout: which hierarchy an address means, what a value comes to, and whether
 * all of it fits together. */
#pragma once

#include "toml.h"

namespace ctnbpf::config {

struct Resolved {
  Layout layout;
  std::vector<Error> errors;
};
/* `machine` gives the hierarchies that are there already. Files that say different things of the same
 * attribute are an error that names both places. */
Resolved resolve(const std::vector<Document>& files, const Layout& machine);

}  // namespace ctnbpf::config
