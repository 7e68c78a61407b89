/* How --help looks: usage lines as in manuals, no CLI11 type names. */
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

namespace ctnbpf::cli {

class HelpFormatter : public CLI::Formatter {
 public:
  /* `tail` ends the usage line: what CLI11 does not parse. */
  explicit HelpFormatter(std::string tail = {}) : tail_(std::move(tail)) {
    column_width(26);
    label("TEXT", "VALUE");
    label("INT", "N");
    label("OPTIONS", "OPTION...");
    label("SUBCOMMAND", "COMMAND");
    label("SUBCOMMANDS", "COMMAND");
    label("Usage", "usage");
    label("Positionals", "Arguments");
    label("Subcommands", "Commands");
  }

  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string line = CLI::Formatter::make_usage(app, name);
    return line.insert(line.size() - 1, tail_);
  }

  /* An argument may have a name that CLI11 does not take as one (ATTR=VALUE): then it is its type. */
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    if (is_positional && option->get_type_name() != "TEXT") return option->get_type_name();
    return CLI::Formatter::make_option_name(option, is_positional);
  }

  /* An argument's name says what it is; "required" is said by the lack of brackets in the usage. */
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_size() == 0) return {};
    std::string type = option->get_type_name();
    return " " + get_label(type.substr(0, type.find(':')));
  }

 private:
  std::string tail_;
};

}  // namespace ctnbpf::cli
