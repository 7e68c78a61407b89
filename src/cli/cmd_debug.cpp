/* debug progs */
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/program_stats.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::cli {
namespace {

constexpr const char* kCounting = "/proc/sys/kernel/bpf_stats_enabled";

/* Has the kernel count runs of all programs of the machine, or not any more. */
Result<void> have_counted(bool wanted) {
  UniqueFd file(::open(kCounting, O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), wanted ? "1" : "0", 1) != 1)
    return system_error(fmt::format("write {} to {}", wanted ? 1 : 0, kCounting));
  return {};
}

bool is_counting() {
  UniqueFd file(::open(kCounting, O_RDONLY | O_CLOEXEC));
  char is = '0';
  return file.valid() && ::read(file.get(), &is, 1) == 1 && is != '0';
}

Result<void> progs(const Context& context, int seconds) {
  const bool counting = seconds != 0 || is_counting();
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
  if (!counting)
    note(
        "runs and their time are not counted now (kernel.bpf_stats_enabled is 0): --enable has the "
        "kernel count from now on, --measure SEC for so long");
  return {};
}

}  // namespace

void add_debug(CLI::App& app, Context& context) {
  app.require_subcommand(1);
  CLI::App* sub = app.add_subcommand("progs", "what each program in the kernel does and costs");
  auto seconds = std::make_shared<int>(0);
  auto enable = std::make_shared<bool>(false);
  auto disable = std::make_shared<bool>(false);
  sub->add_option("--measure", *seconds,
                  "count runs and time for so long (the kernel does not by itself)")
      ->type_name("SEC")
      ->check(CLI::Range(0, 3600));
  auto* on = sub->add_flag("--enable", *enable,
                           "have the kernel count from now on (kernel.bpf_stats_enabled)");
  sub->add_flag("--disable", *disable, "have it count no more")->excludes(on);
  sub->footer(
      "Without --measure: what the kernel counted while someone had it count (--enable or a\n"
      "--measure); counting is for all programs of the machine and costs each run some 50 ns.\n"
      "`skipped` is always counted: runs the kernel left out as it had preempted a task inside of\n"
      "the program (preempt=lazy and full); `ctnbpf doctor` says what follows.");
  sub->callback([&context, seconds, enable, disable] {
    auto done = *enable || *disable ? have_counted(*enable) : Result<void>();
    if (done) done = progs(context, *seconds);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
