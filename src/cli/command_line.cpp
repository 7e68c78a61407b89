#include "command_line.h"

#include <algorithm>

#include "help.h"

namespace ctnbpf::cli {

void describe(CLI::App& app, Context& context) {
  app.name("ctnbpf");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", std::string("ctnbpf ") + version(), "print the version");
  app.set_help_flag("-h,--help", "show this help");
  app.add_option("--bpffs", context.pin_root,
                 "where ctnbpf pins what it loads (" + std::string(kDefaultPinRoot) + ")")
      ->type_name("DIR")
      ->check([](const std::string& given) {
        return given.empty() ? "give a directory on a BPF file system" : "";
      });
  app.add_flag("--json", context.json, "print JSON, errors too");
  app.add_flag("-v,--verbose", context.verbose, "show what the kernel said about a failure");
  app.footer(
      "ADDR is HIER:/path; HIER is a hierarchy or a subsystem bound to it. HIER:/ is its root.\n"
      "Exit codes: 0 done, 1 failed, 2 usage, 3 the kernel lacks what was asked.");
  app.require_subcommand(1);
  app.fallthrough();
}

CLI::App* add_command(CLI::App& app, const Command& command, Context& context, bool with_options) {
  CLI::App* sub = app.add_subcommand(command.name, command.help);
  sub->set_help_flag("-h,--help", "show this help");
  if (command.hidden) sub->group("");
  if (command.takes_command)
    sub->formatter(std::make_shared<HelpFormatter>(
        command.after_dashes ? " -- COMMAND [ARG...]" : " [--] COMMAND [ARG...]"));
  if (with_options) command.setup(*sub, context);
  return sub;
}

std::optional<std::size_t> find_verb(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); i++) {
    if (words[i] == "--bpffs")
      i++;
    else if (!words[i].starts_with("-"))
      return i;
  }
  return std::nullopt;
}

const CLI::Option* option_of_next_word(const CLI::App& app, const std::string& word) {
  auto with_value = [&app](const std::string& name) -> const CLI::Option* {
    const CLI::Option* option = nullptr;
    for (const CLI::App* at = &app; at != nullptr && option == nullptr; at = at->get_parent())
      option = at->get_option_no_throw(name);
    return option != nullptr && option->get_items_expected_max() > 0 ? option : nullptr;
  };
  if (word.starts_with("--")) return with_value(word); /* `--name=value` is no option's name */
  for (std::size_t i = 1; i < word.size(); i++)        /* `-pc ADDR` is `-p -c ADDR` */
    if (const CLI::Option* option = with_value({'-', word[i]}); option != nullptr)
      return i + 1 == word.size() ? option : nullptr;
  return nullptr;
}

std::size_t options_end(const CLI::App& app, const std::vector<std::string>& words,
                        std::size_t at) {
  for (; at < words.size(); at++) {
    const std::string& word = words[at];
    if (word == "--" || word.size() < 2 || word[0] != '-') break;
    if (option_of_next_word(app, word) != nullptr) at++;
  }
  return std::min(at, words.size());
}

std::string kind_of(const CLI::Option& option) {
  std::string type = option.get_type_name(); /* with what its checks say of it after a ':' */
  type = type.substr(0, type.find(':'));
  if (option.get_positional() && (type == "TEXT" || type.empty())) return option.get_name(true);
  return type;
}

std::vector<const CLI::App*> shown_subcommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); });
}

std::vector<const CLI::Option*> shown_options(const CLI::App& app) {
  return app.get_options(
      [](const CLI::Option* one) { return one->nonpositional() && !one->get_group().empty(); });
}

std::vector<const CLI::Option*> arguments(const CLI::App& app) {
  return app.get_options([](const CLI::Option* one) { return one->get_positional(); });
}

}  // namespace ctnbpf::cli
