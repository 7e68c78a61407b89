/* stat */
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "context.h"
#include "ctnbpf/tree.h"
#include "exposition.h"
#include "removed.h"
#include "stat_print.h"
#include "table.h"

namespace ctnbpf::cli {

using metrics::Meters;

namespace {

struct Options {
  std::vector<std::string> addresses;
  bool recursive = false;
  bool removed = false;
  bool transient = false;
  std::string sort;
  double interval = 0;     /* seconds; 0: once */
  std::uint64_t count = 0; /* batches; 0: for ever */
  std::string format = "table";
};

Result<std::vector<Slot>> wanted(const State& state, const Options& options, tree::Order order) {
  std::vector<Slot> slots;
  auto add = [&](Slot slot, bool recursive) {
    std::vector<Slot> all = recursive ? tree::subtree(state, slot, order) : std::vector<Slot>{slot};
    slots.insert(slots.end(), all.begin(), all.end());
  };
  for (const std::string& address : options.addresses) {
    CTN_ASSIGN(Slot slot, tree::find(state, address));
    add(slot, options.recursive);
  }
  for (std::uint32_t h = 0; h < CTN_MAX_HIER && options.addresses.empty(); h++)
    if (tree::hierarchy_active(state, h)) add(h, true);
  return slots;
}

/* In place of what was there: only as many lines as the terminal has. */
void print_in_place(const std::string& text) {
  winsize size = {};
  std::size_t rows =
      ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row - 1U : 1000U;
  std::size_t end = 0;
  for (std::size_t line = 0; line < rows && end != std::string::npos; line++)
    end = text.find('\n', end == 0 ? 0 : end + 1);
  constexpr const char* kHomeAndClear = "\033[H\033[J";
  fmt::print("{}{}\n", kHomeAndClear, text.substr(0, end));
}

bool is_for_collectors(const std::string& format) {
  return format == "openmetrics" || format == "prometheus";
}

class Stat {
 public:
  Stat(const Context& context, const Options& options)
      : context_(context), options_(options), format_(context.json ? "json" : options.format) {}

  Result<void> once() {
    CTN_ASSIGN(State state, State::open(context_.pins()));
    if (is_for_collectors(format_)) return expose(state);
    CTN_TRY(meters_.read_rates(state));
    return print(state);
  }

  Result<void> repeat() {
    using Clock = std::chrono::steady_clock;
    auto interval = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(options_.interval));
    in_place_ = format_ == "table" && ::isatty(STDOUT_FILENO) == 1;
    auto next = Clock::now();
    for (std::uint64_t batch = 0; options_.count == 0 || batch < options_.count; batch++) {
      if (batch > 0) {
        next = std::max(next + interval, Clock::now());
        std::this_thread::sleep_until(next);
        if (!in_place_) fmt::print("\n");
      }
      CTN_ASSIGN(State state,
                 State::open(context_.pins())); /* anew: there may be more containers */
      CTN_TRY(batch == 0 ? meters_.read_rates(state) : meters_.read(state));
      CTN_TRY(print(state));
      if (std::fflush(stdout) != 0) return system_error("write to standard output");
    }
    return {};
  }

 private:
  /* Those of the containers that were named, or all there is, that of the machine too. */
  Result<void> expose(const State& state) {
    meters_.keep_series();
    CTN_TRY(meters_.read(state));
    bool all = options_.addresses.empty();
    metrics::Selection selection;
    selection.transient = options_.transient;
    CTN_ASSIGN(std::vector<Slot> slots,
               all ? metrics::select(state, selection)
                   : wanted(state, options_, tree::Order::kAny)); /* nobody reads them */
    CTN_ASSIGN(StatTable table, metrics::make_stat(state, meters_, slots));
    metrics::Exposition out(stdout, format_ == "prometheus" ? metrics::Format::kPrometheus
                                                            : metrics::Format::kOpenMetrics);
    if (all) {
      out.build(true, version());
      CTN_TRY(out.machine(state));
    }
    out.containers(table, meters_);
    out.end();
    return {};
  }

  Result<void> print(const State& state) {
    CTN_ASSIGN(std::vector<Slot> slots, wanted(state, options_, tree::Order::kByName));
    CTN_ASSIGN(StatTable table, metrics::make_stat(state, meters_, slots));
    if (!options_.sort.empty()) CTN_TRY(metrics::sort_stat(table, options_.sort));
    if (format_ == "json")
      print_json(stat_json(table));
    else if (format_ == "csv")
      write_csv(table, stdout);
    else if (in_place_)
      print_in_place(table_text(stat_cells(table)));
    else
      fmt::print("{}", table_text(stat_cells(table)));
    return {};
  }

  const Context& context_;
  const Options& options_;
  const std::string format_;
  bool in_place_ = false;
  Meters meters_;
};

}  // namespace

void add_stat(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->addresses, "containers; none: all");
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  auto* removed = app.add_flag("--removed", options->removed,
                               "removed containers, the last 1,024, with their final figures");
  app.add_option("-s,--sort", options->sort,
                 "sort by a column, the largest first; or by `container`")
      ->type_name("COLUMN")
      ->excludes(removed);
  auto* interval =
      app.add_option("-i,--interval", options->interval, "print again every SEC seconds")
          ->type_name("SEC")
          ->check(seconds_between(0.01, 86400))
          ->excludes(removed);
  app.add_option("-n,--count", options->count, "how often; without it, until interrupted")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1'000'000'000))
      ->needs(interval);
  app.add_option("--format", options->format, "table, json, csv, openmetrics or prometheus")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json", "csv", "openmetrics", "prometheus"}));
  app.add_flag("--transient", options->transient,
               "openmetrics and prometheus: with containers that `run` made");
  app.footer(
      "Columns as csv names them, for -s too: tasks, tasks_peak, tasks_limit, tasks_refused, "
      "likewise\n"
      "files...; cpu_ns (shown in seconds), cpu_percent (of one CPU, since the batch before, or in "
      "a\n"
      "tenth of a second), load_percent (in the last full 10 s). All are those of the subtree; a "
      "root\n"
      "shows the machine's. With -i a terminal is refreshed in place, else an empty line parts "
      "the\n"
      "batches.");
  app.callback([&context, options, interval] {
    if (options->removed && is_for_collectors(options->format))
      throw CLI::ExcludesError("--format " + options->format, "--removed");
    if (interval->count() > 0 && is_for_collectors(options->format))
      throw CLI::ExcludesError("--format " + options->format, "--interval");
    Stat stat(context, *options);
    auto done = options->removed
                    ? show_removed(context, options->addresses, options->recursive, options->format)
                : interval->count() > 0 ? stat.repeat()
                                        : stat.once();
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
