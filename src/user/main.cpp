/* ctnbpf-user: what `ctnbpf` becomes for a user who is not root, so that for root no command is slower for it. */
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>

#include "commands.h"
#include "ctnbpf/subsystem.h"
#include "program.h"

namespace ctnbpf::user {
namespace {

struct Command {
  std::string_view name;
  Act act;
  std::span<const std::string_view> options; /* that do not need root */
};

constexpr std::string_view kCreate[] = {"--parents", "--set", "--best-effort"};
constexpr std::string_view kRecursive[] = {"--recursive"};
constexpr std::string_view kSet[] = {"--best-effort"};
constexpr std::string_view kAttach[] = {"--thread"};
constexpr std::string_view kGet[] = {"-n", "--recursive"};
constexpr std::string_view kPs[] = {"--recursive", "--threads"};
constexpr std::string_view kTree[] = {"--tasks", "--all", "--depth"};
constexpr std::string_view kStat[] = {"--recursive", "--sort", "--format"};
constexpr std::string_view kRun[] = {"--container", "--name", "--parents",    "--keep",
                                     "--set",       "--stat", "--best-effort"};

constexpr Command kCommands[] = {
    {"create", create, kCreate},
    {"rm", rm, kRecursive},
    {"rename", rename, {}},
    {"set", set, kSet},
    {"attach", attach, kAttach},
    {"get", get, kGet},
    {"ps", ps, kPs},
    {"where", where, {}},
    {"explain", explain, {}},
    {"tree", tree, kTree},
    {"stat", stat, kStat},
    {"run", run, kRun},
};

std::string name_of(const CLI::Option& option) {
  return option.get_lnames().empty() ? "-" + option.get_snames()[0] : "--" + option.get_lnames()[0];
}

bool is_of_run(const std::string& name) {
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& one : subsystem->attributes)
      if (one.run_option != nullptr && name == one.run_option) return true;
  return false;
}

/* The first option that was given and needs root. */
Result<void> check_options(const Command& command, const CLI::App& app) {
  for (const CLI::Option* option :
       app.get_options([](const CLI::Option* one) { return one->nonpositional(); })) {
    if (option->count() == 0) continue;
    std::string name = name_of(*option);
    bool known =
        std::find(command.options.begin(), command.options.end(), name) != command.options.end();
    if (known || (command.name == "run" && is_of_run(name))) continue;
    return Error{EPERM, fmt::format("`ctnbpf {0} {1}` needs root: run `sudo ctnbpf {0} {1} ...`",
                                    command.name, name)};
  }
  for (const CLI::Option* argument :
       app.get_options([](const CLI::Option* one) { return one->get_positional(); }))
    if (command.name != "tree" && command.name != "stat" && argument->get_name(true) == "ADDR" &&
        argument->count() == 0)
      throw CLI::RequiredError("ADDR");
  return {};
}

/* Options that a command line is parsed into live in the command's callback, which CLI11 does not give out. */
struct Opened : CLI::App {
  static std::function<void()> callback_of(const CLI::App& app) {
    return app.*(&Opened::final_callback_);
  }
};

Result<void> adapt(const std::string& name, CLI::App& app, cli::Context& context) {
  auto found = std::find_if(std::begin(kCommands), std::end(kCommands),
                            [&](const Command& one) { return one.name == name; });
  if (found == std::end(kCommands))
    return Error{EPERM, fmt::format("`ctnbpf {0}` needs root: run `sudo ctnbpf {0} ...`", name)};
  auto mounts = Mounts::find();
  if (!mounts)
    return Error{EPERM, fmt::format("`ctnbpf {0}` needs root: run `sudo ctnbpf {0} ...`, or, for "
                                    "containers of your own, have root run `ctnbpf mount DIR`",
                                    name)};
  app.callback(
      [&context, &app, command = *found, mounts = *mounts, options = Opened::callback_of(app)] {
        auto ok = check_options(command, app);
        int failed = command.name == "run" ? cli::kRunFailed : cli::kFailed;
        if (ok) {
          context.exit_code = command.act(context, mounts, Given(app));
        } else {
          cli::report(context, ok.error());
          context.exit_code = failed;
        }
      });
  return {};
}

}  // namespace
}  // namespace ctnbpf::user

int main(int argc, char** argv) {
  return ctnbpf::cli::run_program(argc, argv, ctnbpf::user::adapt);
}
