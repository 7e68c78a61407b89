/* How `stat` prints its table. */
#pragma once

#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "stat_table.h"

namespace ctnbpf::cli {

using metrics::StatTable;

/* Lines of cells for people, the headings first, in units as people like them. */
std::vector<std::vector<std::string>> stat_cells(const StatTable& table);
void write_csv(const StatTable& table, std::FILE* file);
nlohmann::ordered_json stat_json(const StatTable& table);

}  // namespace ctnbpf::cli
