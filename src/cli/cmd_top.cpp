/* top: its options. */
#include <fmt/format.h>

#include "companion.h"

namespace ctnbpf::cli {
namespace {

struct Options {
  std::string address;
  std::string column;
  double delay = 2;
  bool batch = false;
  std::uint64_t count = 0;
};

Result<void> become_top(const Context& context, const Options& options) {
  std::vector<std::string> words{fmt::format("--delay={}", options.delay)};
  if (!options.address.empty()) words.push_back("--address=" + options.address);
  if (!options.column.empty()) words.push_back("--sort=" + options.column);
  if (options.batch) words.emplace_back("--batch");
  if (options.count != 0) words.push_back(fmt::format("--count={}", options.count));
  return become_companion(context, "ctnbpf-top", std::move(words));
}

}  // namespace

void add_top(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "a container, with all below; none: all");
  app.add_option("-d,--delay", options->delay, "seconds between two looks (2)")
      ->type_name("SEC")
      ->check(seconds_between(0.1, 86400));
  app.add_option("-s,--sort", options->column, "sort by a column, the largest first")
      ->type_name("COLUMN");
  auto* batch = app.add_flag("-b,--batch", options->batch, "print tables, one after the other");
  app.add_option("-n,--count", options->count, "how many tables")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1'000'000'000))
      ->needs(batch);
  app.footer(
      "Keys: arrows move; < and > choose the column to sort by, r turns the order round; t shows\n"
      "the tree or all flat; / filters; k sends a signal to a container's tasks, l sets a limit,\n"
      "both ask first; d sets the delay; q ends. ref/s: refused a second, by limits and rates.");
  app.callback([&context, options] {
    auto done = become_top(context, *options);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
