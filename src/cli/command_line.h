/* The command line as a tree of CLI11's, and where the parts of given words are in it. */
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "context.h"

namespace ctnbpf::cli {

/* What is before the command: options of every command, and how help looks. */
void describe(CLI::App& app, Context& context);
/* `command` below `app`, with its options only if `with_options`: setting them up costs. */
CLI::App* add_command(CLI::App& app, const Command& command, Context& context, bool with_options);

/* Where the subcommand's name is: the first word that is not an option of ours or its value. */
std::optional<std::size_t> find_verb(const std::vector<std::string>& words);
/* The option whose value is the word after `word`; null: there is none. */
const CLI::Option* option_of_next_word(const CLI::App& app, const std::string& word);
/* Where the command line of `run COMMAND` leaves our options: the first word that is neither an
 * option of `app` nor the value of one. `--` ends them too. */
std::size_t options_end(const CLI::App& app, const std::vector<std::string>& words, std::size_t at);

/* What an argument or an option's value is, as help calls it: "ADDR", "ATTR=VALUE". */
std::string kind_of(const CLI::Option& option);
/* Subcommands and options that help shows, in its order. */
std::vector<const CLI::App*> shown_subcommands(const CLI::App& app);
std::vector<const CLI::Option*> shown_options(const CLI::App& app);
std::vector<const CLI::Option*> arguments(const CLI::App& app);

}  // namespace ctnbpf::cli
