/* ctnbpf-layout: what `ctnbpf apply`, `save` and `import` become. */
#include <cstdio>
#include <exception>
#include <system_error>

#include "commands.h"
#include "ctnbpf/address.h"

namespace {

int run(int argc, char** argv) {
  ctnbpf::cli::Context context;
  ctnbpf::layout::ApplyOptions apply;
  ctnbpf::layout::ImportOptions import;
  std::vector<std::string> hierarchies;
  CLI::App app("Layouts of ctnbpf's containers; started by `ctnbpf apply`, `save` and `import`.");
  app.add_option("--bpffs", context.pin_root);
  app.add_flag("--json", context.json);
  app.add_flag("--verbose", context.verbose);
  app.require_subcommand(1);
  CLI::App* of_apply = app.add_subcommand("apply");
  of_apply->add_flag("--check", apply.check);
  of_apply->add_flag("--diff", apply.diff);
  of_apply->add_flag("--prune", apply.prune);
  of_apply->add_flag("--best-effort", apply.best_effort);
  of_apply->add_option("--file", apply.files)->allow_extra_args(false);
  of_apply->callback([&] { context.exit_code = ctnbpf::layout::apply(context, apply); });
  CLI::App* of_save = app.add_subcommand("save");
  of_save->add_option("--hierarchy", hierarchies)->allow_extra_args(false);
  of_save->callback([&] { context.exit_code = ctnbpf::layout::save(context, hierarchies); });
  CLI::App* of_import = app.add_subcommand("import");
  of_import->add_option("--format", import.format);
  of_import->add_option("--file", import.file);
  of_import->add_flag("--lenient", import.lenient);
  of_import->callback([&] { context.exit_code = ctnbpf::layout::import(context, import); });
  CLI11_PARSE(app, argc, argv);
  return context.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return ctnbpf::cli::flushed(run(argc, argv));
  } catch (const std::system_error& error) { /* output that cannot be written */
    if (error.code().value() != EPIPE) ctnbpf::cli::note(error.what());
  } catch (const std::exception& error) { /* bad_alloc */
    ctnbpf::cli::note(error.what());
  }
  return ctnbpf::cli::kFailed;
}
