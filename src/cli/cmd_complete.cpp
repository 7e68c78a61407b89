/* complete: how a command line can go on, for the scripts in share/completions. A candidate a line, with what it
 * is after a tab; or one line, ":files", ":directories", or ":command N", where the N-th word begins a
 * command line of its own. The scripts ask the shell for those. */
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "candidates.h"
#include "command_line.h"
#include "ctnbpf/address.h"

namespace ctnbpf::cli {
namespace {

class Completion {
 public:
  /* `words` without the program's name; the last one is to be completed. */
  explicit Completion(std::vector<std::string> words) : words_(std::move(words)), app_("") {
    current_ = words_.empty() ? "" : words_.back();
    if (!words_.empty()) words_.pop_back();
    describe(app_, context_);
    for (std::size_t i = 0; i < words_.size(); i++) { /* those of the line, for what is read */
      if (words_[i] == "--") break;
      if (words_[i] == "--bpffs" && i + 1 < words_.size()) context_.pin_root = words_[i + 1];
      if (words_[i].starts_with("--bpffs=")) context_.pin_root = words_[i].substr(8);
    }
  }

  void print() {
    if (auto verb = find_verb(words_); !verb)
      first_word();
    else if (words_[*verb] == "help")
      commands_by_name();
    else
      after(*verb);
    for (const Candidate& one : found_)
      if (one.word.starts_with(current_)) fmt::print("{}\t{}\n", one.word, one.help);
    if (!shell_.empty()) fmt::print("{}\n", shell_);
  }

 private:
  void first_word() {
    at_ = &app_;
    if (!words_.empty()) wanted_ = option_of_next_word(app_, words_.back());
    if (wanted_ != nullptr)
      value(kind_of(*wanted_), wanted_);
    else if (current_.starts_with("-"))
      option();
    else
      commands_by_name();
  }

  void commands_by_name() {
    for (const Command& command : commands())
      if (!command.hidden) found_.push_back({command.name, command.help});
    found_.push_back({"help", "explain a command"});
  }

  /* Reads the words behind the command, then knows what the current one is. */
  void after(std::size_t verb) {
    for (const Command& command : commands())
      if (words_[verb] == command.name) command_ = &command;
    if (command_ == nullptr) return;
    at_ = add_command(app_, *command_, context_, true);
    for (std::size_t i = verb + 1; i < words_.size(); i++) {
      bool begins_command = read(words_[i]);
      if (begins_command) return run_command(words_[i] == "--" ? i + 1 : i);
    }
    if (wanted_ != nullptr) return value(kind_of(*wanted_), wanted_);
    if (!only_arguments_ && current_.starts_with("-")) return option();
    if (takes_words()) return run_command(words_.size());
    if (given_ == 0 && !shown_subcommands(*at_).empty()) {
      for (const CLI::App* one : shown_subcommands(*at_))
        found_.push_back({one->get_name(), one->get_description()});
      return;
    }
    if (const CLI::Option* next = argument(); next != nullptr) value(kind_of(*next), next);
  }

  /* One word that is there; true if a command line of its own begins at it. */
  bool read(const std::string& word) {
    if (wanted_ != nullptr) {
      if (kind_of(*wanted_) == "ADDR") addresses_.push_back(word);
      wanted_ = nullptr;
    } else if (!only_arguments_ && word == "--") {
      if (command_->takes_command) return true;
      only_arguments_ = true;
    } else if (!only_arguments_ && word.size() > 1 && word[0] == '-') {
      wanted_ = option_of_next_word(*at_, word);
      given_words_.push_back(word.substr(0, word.find('=')));
    } else if (takes_words()) {
      return true;
    } else if (const CLI::App* sub = below(word); given_ == 0 && sub != nullptr) {
      at_ = sub;
    } else {
      if (const CLI::Option* its = argument(); its != nullptr && kind_of(*its) == "ADDR")
        addresses_.push_back(word);
      given_++;
    }
    return false;
  }

  /* Is the first word that is no option one of a command line of its own? */
  bool takes_words() const { return command_->takes_command && !command_->after_dashes; }

  const CLI::App* below(const std::string& name) const {
    for (const CLI::App* one : shown_subcommands(*at_))
      if (one->get_name() == name) return one;
    return nullptr;
  }

  void run_command(std::size_t first) { shell_ = fmt::format(":command {}", first); }

  /* The argument that comes next: all but the last are one word. */
  const CLI::Option* argument() const {
    auto all = arguments(*at_);
    std::size_t taken = given_;
    for (const CLI::Option* one : all) {
      auto most = static_cast<std::size_t>(one->get_items_expected_max());
      if (taken < most) return one;
      taken -= most;
    }
    return nullptr;
  }

  /* "--name", or the value in "--name=value". */
  void option() {
    std::size_t equals = current_.find('=');
    if (current_.starts_with("--") && equals != std::string::npos) {
      std::string name = current_.substr(0, equals);
      wanted_ = option_of_next_word(*at_, name);
      if (wanted_ == nullptr) return;
      std::string whole = std::exchange(current_, current_.substr(equals + 1));
      value(kind_of(*wanted_), wanted_);
      for (Candidate& one : found_) one.word.insert(0, name + "=");
      current_ = whole;
      return;
    }
    for (const CLI::App* at = at_; at != nullptr; at = at->get_parent())
      for (const CLI::Option* one : shown_options(*at)) {
        std::string name =
            one->get_lnames().empty() ? "-" + one->get_snames()[0] : "--" + one->get_lnames()[0];
        if (at != at_ && name == "--help") continue; /* the command has its own */
        bool again = one->get_items_expected_max() > 1;
        if (!again &&
            std::find(given_words_.begin(), given_words_.end(), name) != given_words_.end())
          continue;
        std::string help = one->get_description();
        std::replace(help.begin(), help.end(), '\n', ' ');
        found_.push_back({name, help});
      }
  }

  void value(const std::string& kind, const CLI::Option* option) {
    const Pins pins = context_.pins();
    std::string type = option->get_type_name(); /* "FORMAT:{table,json}" */
    if (std::size_t open = type.find('{'); open != std::string::npos) {
      for (std::size_t at = open + 1, end = at; at < type.size(); at = end + 1) {
        end = std::min(type.find_first_of(",}", at), type.size());
        if (end > at) found_.push_back({type.substr(at, end - at), ""});
      }
    } else if (kind == "ADDR") {
      found_ = address_candidates(pins, current_, command_->name == std::string("create"));
    } else if (kind == "HIER") {
      found_ = hierarchy_candidates(pins);
    } else if (kind == "ATTR") {
      found_ = attribute_candidates(pins, addresses_);
    } else if (kind == "ATTR=VALUE") {
      found_ = setting_candidates(pins, addresses_, current_);
    } else if (kind == "SUBSYS,...") {
      found_ = subsystem_candidates(current_);
    } else if (kind == "PID") {
      found_ = pid_candidates();
    } else if (kind == "SIG") {
      for (const std::string& name : signal_names()) found_.push_back({name, ""});
    } else if (kind == "COLUMN" && command_->name == std::string("stat")) {
      found_ = column_candidates(pins);
    } else if (kind == "FILE") {
      shell_ = ":files";
    } else if (kind == "DIR") {
      shell_ = ":directories";
    }
  }

  std::vector<std::string> words_;
  std::string current_;
  Context context_;
  CLI::App app_;
  const Command* command_ = nullptr;
  const CLI::App* at_ = nullptr;        /* the command, or the one below it */
  const CLI::Option* wanted_ = nullptr; /* the last word is an option, its value comes next */
  bool only_arguments_ = false;         /* after `--` */
  std::size_t given_ = 0;               /* arguments */
  std::vector<std::string> given_words_;
  std::vector<std::string> addresses_;
  std::vector<Candidate> found_;
  std::string shell_;
};

}  // namespace

void add_complete(CLI::App& app, Context& context) {
  app.footer(
      "COMMAND [ARG...] is a command line without `ctnbpf`; its last word, which may be empty, is\n"
      "the one to complete. A candidate a line, with what it is after a tab; `:files`,\n"
      "`:directories` and `:command N` leave it to the shell.");
  app.callback([&context] { Completion(context.command).print(); });
}

}  // namespace ctnbpf::cli
