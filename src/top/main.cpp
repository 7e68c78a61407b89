/* ctnbpf-top: what `ctnbpf top` becomes. */
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "screen.h"

int main(int argc, char** argv) {
  ctnbpf::top::Options options;
  options.pin_root = ctnbpf::kDefaultPinRoot;
  CLI::App app("Shows containers live; started by `ctnbpf top`.");
  app.add_option("--bpffs", options.pin_root);
  app.add_option("--address", options.address);
  app.add_option("--sort", options.column);
  app.add_option("--delay", options.interval);
  app.add_option("--count", options.count);
  app.add_flag("--batch", options.batch);
  CLI11_PARSE(app, argc, argv);
  ctnbpf::top::Model model(ctnbpf::Pins(options.pin_root), options.address);
  auto done = ctnbpf::top::show(model, options);
  if (done) return 0;
  fmt::print(stderr, "ctnbpf: {}\n", done.error().what);
  return 1;
}
