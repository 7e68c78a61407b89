/* debug progs */
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "context.h"
#include "program_stats.h"

namespace ctnbpf::cli {
namespace {

Result<void> progs(const Context& context, int seconds) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(auto all, program_stats(context.pins(), seconds));
  if (context.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const ProgramStats& one : all) {
      nlohmann::ordered_json entry;
      entry["program"] = one.name;
      entry["hook"] = one.hook;
      entry["attached"] = one.attached;
      entry["runs"] = one.runs;
      entry["run_time_ns"] = one.run_time_ns;
      entry["skipped"] = one.skipped;
      json.push_back(entry);
    }
    print_json(json);
    return {};
  }
  fmt::print("{:<14} {:<36} {:<8} {:>10} {:>10} {:>8}\n", "program", "hook", "attached", "runs",
             "ns a run", "skipped");
  for (const ProgramStats& one : all)
    fmt::print("{:<14} {:<36} {:<8} {:>10} {:>10} {:>8}\n", one.name, one.hook,
               one.attached ? "yes" : "no", one.runs,
               one.runs == 0 ? "-" : std::to_string(one.run_time_ns / one.runs), one.skipped);
  return {};
}

}  // namespace

void add_debug(CLI::App& app, Context& context) {
  app.require_subcommand(1);
  CLI::App* sub = app.add_subcommand("progs", "what each program in the kernel does and costs");
  auto seconds = std::make_shared<int>(0);
  sub->add_option("--measure", *seconds,
                  "count runs and time for so long (the kernel does not by itself)")
      ->type_name("SEC")
      ->check(CLI::Range(0, 3600));
  sub->footer(
      "Without --measure: what the kernel counted while someone had it count (kernel.bpf_stats_enabled\n"
      "or a --measure). `skipped` is always counted: runs the kernel left out because the CPU was\n"
      "inside another tracing program (level fallback and preempt=full).");
  sub->callback([&context, seconds] {
    if (auto done = progs(context, *seconds); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
