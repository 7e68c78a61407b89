#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "ctnbpf/address.h"
#include "table.h"
#include "screen.h"

namespace ctnbpf::top {
namespace {

using Clock = std::chrono::steady_clock;

/* Without a terminal: tables one after the other. */
Result<void> print_batches(Model& model, const Options& options) {
  View view;
  view.column = options.column;
  auto interval =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.interval));
  auto next = Clock::now();
  for (std::uint64_t batch = 0; options.count == 0 || batch < options.count; batch++) {
    next += interval;
    std::this_thread::sleep_until(next); /* rates are of this time */
    CTN_TRY(model.read());
    cli::Table table(1, {"container"});
    for (const Column& column : model.columns()) table[0].push_back(column.title);
    for (const Row& row : model.rows(view)) {
      std::vector<std::string> line{std::string(static_cast<std::size_t>(row.depth) * 2, ' ') +
                                    printable(row.name)};
      for (std::size_t i = 0; i < row.values.size(); i++)
        line.push_back(cell(model.columns()[i], row.values[i]));
      table.push_back(std::move(line));
    }
    fmt::print("{}{}", batch == 0 ? "" : "\n", cli::table_text(table));
    if (std::fflush(stdout) != 0) return system_error("write to standard output");
  }
  return {};
}

}  // namespace

Result<void> show(Model& model, const Options& options) {
  CTN_TRY(model.read());
  if (!options.column.empty() && options.column != "container" &&
      !find_column(model.columns(), options.column)) {
    std::vector<std::string> names{"container"};
    for (const Column& column : model.columns()) names.push_back(column.name);
    return Error{EINVAL, fmt::format("no column '{}': there are {}", printable(options.column),
                                     fmt::join(names, ", "))};
  }
  if (options.batch) return print_batches(model, options);
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0)
    return Error{ENOTTY, "`ctnbpf top` needs a terminal: use -b for output to a file or pipe"};
  return show_on_screen(model, options);
}

}  // namespace ctnbpf::top
