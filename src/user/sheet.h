/* Figures of containers, as the file .stat has them. */
#pragma once

#include <map>
#include <string>
#include <vector>

#include "stat_table.h"
#include "mounts.h"

namespace ctnbpf::user {

struct SheetRow {
  std::vector<std::string> path;
  std::uint64_t live_tasks = 0;
  std::map<std::string, std::string> notes; /* by subsystem */
};

/* Of a container and those below it that can be seen, each before its own. */
struct Sheet {
  const Hierarchy* hierarchy;
  metrics::StatTable table;
  std::vector<SheetRow> rows; /* as in the table */

  const std::optional<std::uint64_t>& at(std::size_t row, std::size_t column) const {
    return table.at(table.rows[row], column);
  }
  /* Below `row`, one level. */
  std::vector<std::size_t> children(std::size_t row) const;
};

/* Of each of these; rates are of a tenth of a second, if `rates`. */
Result<std::vector<Sheet>> read_sheets(const std::vector<Place>& tops, bool rates);

}  // namespace ctnbpf::user
