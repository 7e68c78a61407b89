/* How `tree` prints what it shows. */
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ctnbpf/subsystem.h"

namespace ctnbpf::cli {

struct TreeLine {
  std::string name;                 /* with what is before it */
  std::vector<std::string> figures; /* one column each */
};

/* In columns. */
void print_tree(const std::vector<TreeLine>& lines);

/* "tasks 37/64" */
std::string figures_cell(const Figures& figures, bool all);

/* ", at level fallback", or ", numfiles at level fallback" where it is not that of all; nothing at strict. Of
 * subsystems, each with its level. */
std::string levels_text(const std::vector<std::pair<std::string, std::uint32_t>>& subsystems);

}  // namespace ctnbpf::cli
