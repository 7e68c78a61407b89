/* exporter: its options. What serves is a program of its own, so that no other command loads a library for
 * HTTP. */
#include <fmt/format.h>

#include "companion.h"

namespace ctnbpf::cli {
namespace {

struct Options {
  std::string listen;
  std::string match;
  int depth = CTN_MAX_DEPTH;
  bool transient = false;
};

Result<void> become_exporter(const Context& context, const Options& options) {
  std::vector<std::string> words{fmt::format("--depth={}", options.depth)};
  if (!options.match.empty()) words.push_back("--match=" + options.match);
  if (!options.listen.empty()) words.push_back("--listen=" + options.listen);
  if (options.transient) words.emplace_back("--transient");
  return become_companion(context, "ctnbpf-exporter", std::move(words));
}

}  // namespace

void add_exporter(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("--listen", options->listen,
                 "ADDR:PORT or unix:PATH (127.0.0.1:9974, or systemd's socket)")
      ->type_name("WHERE");
  app.add_option("--match", options->match, "only containers like GLOB: `/web/*`, `default:/web*`")
      ->type_name("GLOB");
  app.add_option("--depth", options->depth, "only N levels below each root")
      ->type_name("N")
      ->check(CLI::Range(0, CTN_MAX_DEPTH));
  app.add_flag("--transient", options->transient, "with containers that `run` made");
  app.footer(
      "GET /metrics is in OpenMetrics or in Prometheus' text format, as the client accepts; the\n"
      "names are in docs/metrics.md. Whoever can connect can read: by default that is this\n"
      "machine; a unix socket is for root and its group alone.");
  app.callback([&context, options] {
    auto done = become_exporter(context, *options);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
