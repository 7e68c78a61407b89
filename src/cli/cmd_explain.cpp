/* explain */
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"
#include "explain_print.h"
#include "value_json.h"

namespace ctnbpf::cli {
namespace {

/* The first of those of its resource that leave least. */
bool nearest(const std::vector<BoundLine>& lines, const BoundLine& line) {
  return std::none_of(lines.begin(), lines.end(), [&](const BoundLine& other) {
    return other.resource == line.resource &&
           (other.left < line.left || (other.left == line.left && &other < &line));
  });
}

}  // namespace

void print_explanation(const Context& context, const Explanation& found) {
  const std::vector<BoundLine>& lines = found.bounds;
  if (!context.json) {
    fmt::print("{} ({})\n", found.tid, printable(found.comm));
    for (const BoundLine& line : lines)
      fmt::print("{} {:<24} {:>8} of {:<8} {:>8} left  {}\n", nearest(lines, line) ? '*' : ' ',
                 line.what, line.used, line.most, line.left, printable(line.on));
    return;
  }
  nlohmann::ordered_json bounds = nlohmann::ordered_json::array();
  for (const BoundLine& line : lines)
    bounds.push_back({{"resource", line.resource},
                      {"what", line.what},
                      {"on", portable(line.on)},
                      {"used", line.used},
                      {"most", to_json(line.most)},
                      {"left", to_json(line.left)},
                      {"nearest", nearest(lines, line)}});
  print_json(
      {{"pid", found.pid}, {"tid", found.tid}, {"comm", portable(found.comm)}, {"bounds", bounds}});
}

void add_explain(CLI::App& app, Context& context) {
  auto pid = std::make_shared<std::string>();
  app.add_option("PID", *pid, "process or thread id")->required();
  app.footer(
      "One line a bound: what, how much of it is used, how much is left, where it is set; of tasks,\n"
      "and of files, the one that binds first is marked `*`. The kernel's own bounds on tasks are\n"
      "shown too, where they bind. `left` of numtasks.total_numtasks is what is guaranteed to the\n"
      "task's containers and still free, and what they can borrow.");
  app.callback([&context, pid] {
    auto done = [&]() -> Result<void> {
      CTN_ASSIGN(int number, parse_pid(*pid));
      CTN_ASSIGN(State state, State::open(context.pins()));
      CTN_ASSIGN(Explanation found, explain(state, number));
      print_explanation(context, found);
      return {};
    }();
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
