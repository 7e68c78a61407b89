/* apply, save, import: their options. What does them is a program of its own, so that no other command
 * carries a parser of TOML. */
#include "companion.h"

namespace ctnbpf::cli {
namespace {

constexpr const char* kProgram = "ctnbpf-layout";

void become(Context& context, std::vector<std::string> words) {
  if (context.verbose) words.insert(words.begin(), "--verbose");
  if (context.json) words.insert(words.begin(), "--json");
  auto done = become_companion(context, kProgram, std::move(words));
  if (!done) context.exit_code = fail(context, done.error());
}

}  // namespace

void add_apply(CLI::App& app, Context& context) {
  struct Options {
    std::vector<std::string> files;
    bool check = false;
    bool diff = false;
    bool prune = false;
    bool best_effort = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("FILE", options->files, "layouts, read as one; -: standard input")->required();
  app.add_flag("--check", options->check,
               "only say whether it can be done, as far as can be known");
  app.add_flag("--diff", options->diff, "only print what would change");
  app.add_flag("--prune", options->prune,
               "remove empty containers that no FILE has, in hierarchies one names");
  app.add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  app.footer(
      "All of it is done, or nothing. What no FILE speaks of stays as it is, and no task is moved\n"
      "or ended. A layout is TOML: a table a container, attributes as keys, as `save` prints it\n"
      "(docs/layouts.md):\n"
      "  [\"limits:/\"]\n"
      "  subsystems = [\"numtasks\"]\n"
      "  [\"limits:/build\"]\n"
      "  numtasks.limit = 64");
  app.callback([&context, options] {
    std::vector<std::string> words{"apply"};
    if (options->check) words.emplace_back("--check");
    if (options->diff) words.emplace_back("--diff");
    if (options->prune) words.emplace_back("--prune");
    if (options->best_effort) words.emplace_back("--best-effort");
    for (const std::string& file : options->files) words.push_back("--file=" + file);
    become(context, std::move(words));
  });
}

void add_save(CLI::App& app, Context& context) {
  auto names = std::make_shared<std::vector<std::string>>();
  app.add_option("HIER", *names, "hierarchies; none: all");
  app.footer(
      "Of each container what a new one would not have; containers that `run` made are left out.\n"
      "  ctnbpf save | ctnbpf apply --diff -       prints nothing");
  app.callback([&context, names] {
    std::vector<std::string> words{"save"};
    for (const std::string& name : *names) words.push_back("--hierarchy=" + name);
    become(context, std::move(words));
  });
}

void add_import(CLI::App& app, Context& context) {
  struct Options {
    std::string file;
    bool lenient = false;
  };
  auto options = std::make_shared<Options>();
  app.require_subcommand(1);
  auto add = [&](const std::string& format, const char* help, const char* of_file) {
    CLI::App* sub = app.add_subcommand(format, help);
    sub->add_option("FILE", options->file, of_file)->required();
    sub->add_flag("--lenient", options->lenient, "exit 0 also where something was dropped");
    sub->footer(
        "Prints it as a layout. What has no counterpart is named on stderr, line by line, as dropped;\n"
        "then the exit code is 1, unless --lenient.");
    sub->callback([=, &context] {
      std::vector<std::string> words{"import", "--format=" + format, "--file=" + options->file};
      if (options->lenient) words.emplace_back("--lenient");
      become(context, std::move(words));
    });
  };
  add("cgconfig", "groups of libcgroup's cgconfig.conf", "cgconfig.conf; -: standard input");
  add("cgrules", "rules of libcgroup's cgrules.conf", "cgrules.conf; -: standard input");
  add("vz", "limits of an OpenVZ container", "its configuration, CTID.conf");
}

}  // namespace ctnbpf::cli
