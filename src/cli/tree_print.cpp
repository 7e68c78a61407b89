#include "tree_print.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ctnbpf/levels.h"
#include "table.h"

namespace ctnbpf::cli {

void print_tree(const std::vector<TreeLine>& lines) {
  constexpr std::size_t kNameColumns = 17; /* at least, so that small trees line up */
  std::vector<std::size_t> columns{kNameColumns};
  for (const TreeLine& line : lines) {
    if (line.figures.empty()) continue;
    columns.resize(std::max(columns.size(), line.figures.size() + 1));
    auto widen = [](std::size_t& column, const std::string& text) {
      if (std::size_t wide = width(text); wide <= kWidest) column = std::max(column, wide);
    };
    widen(columns[0], line.name);
    for (std::size_t i = 0; i < line.figures.size(); i++) widen(columns[i + 1], line.figures[i]);
  }
  for (const TreeLine& line : lines) {
    std::string text = line.name;
    std::size_t end = columns[0];
    for (std::size_t i = 0; i < line.figures.size(); i++) {
      if (!line.figures[i].empty()) text = padded(text, end) + "   " + line.figures[i];
      end += columns[i + 1] == 0 ? 0 : 3 + columns[i + 1]; /* of nobody: as if it were not there */
    }
    fmt::print("{}\n", text);
  }
}

std::string figures_cell(const Figures& figures, bool all) {
  std::string text = fmt::format("{} {}", figures.noun, figures.current);
  if (figures.limit != CTN_UNLIMITED) text += fmt::format("/{}", figures.limit);
  if (all) text += fmt::format(" (peak {}, {} refused)", figures.peak, figures.refused);
  return text;
}

std::string levels_text(const std::vector<std::pair<std::string, std::uint32_t>>& subsystems) {
  std::map<std::uint32_t, std::string> names;
  for (const auto& [subsystem, level] : subsystems) {
    std::string& list = names[level];
    list += (list.empty() ? "" : ",") + subsystem;
  }
  std::string text;
  for (const auto& [level, list] : names)
    if (level != CTN_LEVEL_STRICT)
      text +=
          fmt::format(", {}at level {}", names.size() == 1 ? "" : list + " ", level_name(level));
  return text;
}

}  // namespace ctnbpf::cli
