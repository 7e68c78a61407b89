#include "import.h"

#include <fmt/format.h>

#include "commands.h"
#include "toml.h"

namespace ctnbpf::layout {

using cli::Context;

int import(const Context& context, const ImportOptions& options) {
  auto text = read_file(options.file);
  if (!text) return cli::fail(context, text.error());
  std::string name =
      options.file == "-" && options.format != "vz" ? "standard input" : options.file;
  config::Imported imported;
  if (options.format == "cgconfig")
    imported = config::import_cgconfig(*text, name);
  else if (options.format == "cgrules")
    imported = config::import_cgrules(*text, name, config::machine_accounts());
  else
    imported = config::import_vz(*text, name);
  cli::Failures failures(context);
  for (const Error& error : imported.errors) failures.add(error);
  if (!imported.errors.empty()) return failures.finish();
  fmt::print("{}", config::to_toml(imported.layout));
  for (const config::Dropped& one : imported.dropped) cli::note(one.what);
  return imported.dropped.empty() || options.lenient ? cli::kDone : cli::kFailed;
}

}  // namespace ctnbpf::layout
