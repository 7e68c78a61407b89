/* ctnbpf, the command. Only the subcommand that is asked for sets up its options, so that starting
 * stays cheap however many there are. */
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "context.h"

#ifndef CTNBPF_VERSION
#define CTNBPF_VERSION "0.0.0"
#endif

namespace ctnbpf::cli {

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"run", "run a command in a container", add_run, true, true},
      Command{"tree", "show hierarchies and containers", add_tree},
      Command{"stat", "show use, peaks, limits and refusals", add_stat},
      Command{"create", "make containers", add_create},
      Command{"rm", "remove containers", add_rm},
      Command{"rename", "give a container another name", add_rename},
      Command{"get", "read attributes of a container", add_get},
      Command{"set", "change attributes of a container", add_set},
      Command{"attach", "move processes into a container", add_attach},
      Command{"ps", "list the processes of a container", add_ps},
      Command{"where", "show the containers of a process", add_where},
      Command{"hierarchy", "make, list and destroy hierarchies", add_hierarchy},
      Command{"subsystems", "list subsystems and their attributes", add_subsystems},
      Command{"doctor", "say what this kernel can enforce, why, and the cure", add_doctor, false},
      Command{"up", "load everything into the kernel", add_up},
      Command{"down", "take everything out of the kernel", add_down},
      Command{"fsck", "check every invariant, and repair", add_fsck},
  };
  return kCommands;
}

namespace {

/* The subcommand's name: the first word that is not an option of ours or its value. */
std::optional<std::string_view> asked_for(int argc, char** argv) {
  for (int i = 1; i < argc; i++) {
    std::string_view word = argv[i];
    if (word == "--bpffs") {
      i++;
    } else if (!word.starts_with("-")) {
      return word;
    }
  }
  return std::nullopt;
}

/* Where the command line of `run COMMAND` leaves our options: the first word that is neither an
 * option of `app` nor the value of one. `--` ends them too. */
std::size_t options_end(const CLI::App& app, const std::vector<std::string>& words, std::size_t at) {
  for (; at < words.size(); at++) {
    const std::string& word = words[at];
    if (word == "--" || word.size() < 2 || word[0] != '-') break;
    const CLI::Option* option = app.get_option_no_throw(word);
    if (option == nullptr) option = app.get_parent()->get_option_no_throw(word);
    if (option != nullptr && option->get_items_expected_max() > 0) at++;
  }
  return std::min(at, words.size());
}

int run(int argc, char** argv) {
  Context context;
  CLI::App app("Generic process containers on today's kernels: independent hierarchies, limits on tasks\n"
               "and open files, enforced by BPF.");
  app.name("ctnbpf");
  app.set_version_flag("--version", "ctnbpf " CTNBPF_VERSION);
  app.set_help_flag("-h,--help", "show this help");
  app.add_option("--bpffs", context.pin_root, "directory of the pins")->type_name("DIR");
  app.add_flag("--json", context.json, "print JSON, errors too");
  app.add_flag("-v,--verbose", context.verbose, "show what the kernel said about a failure");
  app.footer("Exit codes: 0 done, 1 failed, 2 usage, 3 the kernel lacks what was asked.\n"
             "Addresses: HIER:/path, where HIER is a hierarchy or a subsystem bound to it.");
  app.require_subcommand(1);
  app.fallthrough();

  auto wanted = asked_for(argc, argv);
  const Command* chosen = nullptr;
  for (const Command& command : commands())
    if (wanted && *wanted == command.name) chosen = &command;
  for (const Command& command : commands()) {
    if (chosen != nullptr && chosen != &command) continue;
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    sub->set_help_flag("-h,--help", "show this help");
    if (chosen == nullptr) continue;
    command.setup(*sub, context);
    if (command.needs_root)
      sub->preparse_callback([&command](std::size_t) {
        if (::geteuid() != 0)
          throw CLI::RuntimeError(
              fmt::format("`ctnbpf {0}` needs root: run `sudo ctnbpf {0} ...`", command.name),
              std::string_view(command.name) == "run" ? 125 : kFailed);
      });
  }

  std::vector<std::string> words(argv + 1, argv + argc);
  if (chosen != nullptr && chosen->takes_command) {
    auto verb = std::find(words.begin(), words.end(), chosen->name) - words.begin();
    std::size_t end = options_end(*app.get_subcommand(chosen->name), words,
                                  static_cast<std::size_t>(verb) + 1);
    std::size_t skip = end < words.size() && words[end] == "--" ? 1 : 0;
    context.command.assign(words.begin() + static_cast<std::ptrdiff_t>(end + skip), words.end());
    words.resize(end);
  }
  std::reverse(words.begin(), words.end()); /* as CLI11 wants them */
  try {
    app.parse(words);
  } catch (const CLI::RuntimeError& error) {
    report(context, {EPERM, error.what()});
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error); /* help and version */
    if (wanted && chosen == nullptr)
      report(context, {EINVAL, fmt::format("unknown command '{}': `ctnbpf --help` lists them", *wanted)});
    else
      report(context, {EINVAL, fmt::format("{}: see `ctnbpf {}--help`", error.what(),
                                           chosen ? chosen->name + std::string(" ") : "")});
    return kUsage;
  }
  return context.exit_code;
}

}  // namespace
}  // namespace ctnbpf::cli

int main(int argc, char** argv) {
  try {
    return ctnbpf::cli::run(argc, argv);
  } catch (const std::exception& error) { /* bad_alloc: everything else is a Result */
    fmt::print(stderr, "ctnbpf: {}\n", error.what());
    return ctnbpf::cli::kFailed;
  }
}
