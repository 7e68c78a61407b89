/* The command as a whole: from its arguments to its exit code. Only the subcommand that is asked for sets up its options, so that starting
 * stays cheap however many there are. */
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <system_error>

#include "command_line.h"
#include "companion.h"
#include "ctnbpf/address.h"
#include "ctnbpf/nearest.h"
#include "program.h"

#ifndef CTNBPF_VERSION
#define CTNBPF_VERSION "0.0.0"
#endif

namespace ctnbpf::cli {

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"run", "run a command in a container", add_run, true, true},
      Command{"exec", "become a command in containers: attach, then execve", add_exec, true, true,
              false, true},
      Command{"tree", "show hierarchies and containers", add_tree},
      Command{"stat", "show use, peaks, limits and refusals", add_stat},
      Command{"top", "show use and refusals live", add_top},
      Command{"create", "make containers", add_create},
      Command{"rm", "remove containers", add_rm},
      Command{"rename", "give a container another name", add_rename},
      Command{"chown", "give containers to a user", add_chown},
      Command{"get", "read attributes of a container", add_get},
      Command{"set", "change attributes of a container", add_set},
      Command{"attach", "move processes into a container", add_attach},
      Command{"kill", "send a signal to every process of a container", add_kill},
      Command{"ps", "list the processes of a container", add_ps},
      Command{"where", "show the containers of a process", add_where},
      Command{"explain", "show every bound on a process's tasks, and which is nearest",
              add_explain},
      Command{"files", "list who holds the open files charged to a container", add_files},
      Command{"apply", "make the machine as a file says", add_apply},
      Command{"save", "print what there is as such a file", add_save},
      Command{"import", "print files of libcgroup and OpenVZ as such a file", add_import, false},
      Command{"hierarchy", "make, list and destroy hierarchies", add_hierarchy},
      Command{"subsystems", "list subsystems and their attributes", add_subsystems},
      Command{"events", "show what happened: refusals, containers that became empty", add_events},
      Command{"mount", "serve hierarchies as a file system", add_mount},
      Command{"exporter", "serve figures to Prometheus over HTTP", add_exporter},
      Command{"agentd", "serve release agents, and tidy up after killed runs", add_agentd},
      Command{"oci-hook", "put a container of runc, crun or podman into one", add_oci_hook},
      Command{"slurm-hook", "put a step of a Slurm job into a container", add_slurm_hook},
      Command{"doctor", "say what this kernel can enforce, why, and the cure", add_doctor, false},
      Command{"up", "load everything into the kernel", add_up},
      Command{"down", "take everything out of the kernel", add_down},
      Command{"fsck", "check every invariant, and repair", add_fsck},
      Command{"debug", "show the programs in the kernel", add_debug},
      Command{"complete", "say how a command line can go on; for completions of shells",
              add_complete, false, true, true},
      Command{"man", "print manual pages, made from this table", add_man, false, false, true},
  };
  return kCommands;
}

const char* version() { return CTNBPF_VERSION; }

namespace {

std::size_t dashes(const std::vector<std::string>& words, std::size_t at) {
  auto from = words.begin() + static_cast<std::ptrdiff_t>(at);
  return static_cast<std::size_t>(std::find(from, words.end(), "--") - words.begin());
}

/* `help COMMAND...` is `COMMAND... --help`. */
void rewrite_help(std::vector<std::string>& words) {
  auto verb = find_verb(words);
  if (!verb || words[*verb] != "help") return;
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(*verb));
  words.emplace_back("--help");
}

bool has_word(const std::vector<std::string>& words, std::initializer_list<const char*> wanted) {
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return std::find(wanted.begin(), wanted.end(), word) != wanted.end();
  });
}

std::vector<std::string> subcommands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* one : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(one->get_name());
  return names;
}

bool has_subcommand(const CLI::App& app, const std::string& name) {
  std::vector<std::string> all = subcommands_of(app);
  return std::find(all.begin(), all.end(), name) != all.end();
}

/* As they are typed: "--json". Those of `app` and of the command it belongs to. */
std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent())
    for (const CLI::Option* option : at->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/* What CLI11 says, as one of our sentences. */
std::string usage_message(const CLI::ParseError& error, const std::vector<std::string>& words,
                          const CLI::App& app, const Command* chosen) {
  std::string said = printable(error.what());
  /* "The following argument was not expected: WORD" */
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    std::string word = said.substr(std::min(said.find(": ") + 2, said.size()));
    bool option = word.starts_with("-");
    said = fmt::format("{} '{}'", option ? "unknown option" : "unexpected argument", word);
    if (option && chosen != nullptr) {
      const CLI::App* sub = app.get_subcommand(chosen->name);
      if (!sub->get_subcommands().empty()) sub = sub->get_subcommands()[0]; /* `hierarchy create` */
      std::string meant = did_you_mean(word.substr(0, word.find('=')), option_names(*sub));
      if (!meant.empty()) said += ":" + meant;
    }
  }
  if (chosen == nullptr) {
    for (const std::string& word : words)
      if (word.starts_with("-") &&
          app.get_option_no_throw(word.substr(0, word.find('='))) == nullptr)
        return fmt::format("unknown option '{}':{} `ctnbpf --help` lists them", printable(word),
                           did_you_mean(word, option_names(app)));
    return "no command given: `ctnbpf --help` lists them";
  }
  std::string name = chosen->name;
  auto next =
      std::find_if(words.begin() + static_cast<std::ptrdiff_t>(*find_verb(words)) + 1, words.end(),
                   [](const std::string& word) { return !word.starts_with("-"); });
  if (next != words.end() && has_subcommand(*app.get_subcommand(name), *next))
    name += " " + *next; /* `hierarchy create` */
  else if (said.starts_with("A subcommand is required"))
    said = next == words.end()
               ? "it takes a command of its own"
               : fmt::format("unknown command '{}':{}", printable(*next),
                             did_you_mean(*next, subcommands_of(*app.get_subcommand(name))));
  if (said.ends_with(":")) said.pop_back();
  return fmt::format("{0}: {1}{2} see `ctnbpf {0} --help`", name, said,
                     said.ends_with("?") ? "" : ":");
}

std::vector<std::string> shown_names() {
  std::vector<std::string> names;
  for (const Command& one : commands())
    if (!one.hidden) names.emplace_back(one.name);
  return names;
}

/* The program that knows what users who are not root can do, and refuses the rest (src/user). Returns if it is not
 * there. */
void become_user(char** argv) { ::execv(find_program("ctnbpf-user").c_str(), argv); }

int run(int argc, char** argv, Adapt adapt) {
  Context context;
  CLI::App app(
      "Generic process containers on today's kernels: independent hierarchies, limits on\n"
      "tasks and open files, enforced by BPF.\n");
  describe(app, context);

  std::vector<std::string> words(argv + 1, argv + argc);
  rewrite_help(words);
  auto verb = find_verb(words);
  const Command* chosen = nullptr;
  for (const Command& command : commands())
    if (verb && words[*verb] == command.name) chosen = &command;
  context.json =
      has_word(words, {"--json"}); /* a failure before or while parsing is to be JSON too */
  if (verb && chosen == nullptr) {
    report(context, {EINVAL, fmt::format("unknown command '{}':{} `ctnbpf --help` lists them",
                                         printable(words[*verb]),
                                         did_you_mean(words[*verb], shown_names()))});
    return kUsage;
  }
  for (const Command& command : commands()) {
    if (chosen != nullptr && chosen != &command) continue;
    add_command(app, command, context, chosen != nullptr);
  }

  if (chosen != nullptr && chosen->takes_command) {
    std::size_t end = chosen->after_dashes
                          ? dashes(words, *verb + 1)
                          : options_end(*app.get_subcommand(chosen->name), words, *verb + 1);
    std::size_t skip = end < words.size() && words[end] == "--" ? 1 : 0;
    context.command.assign(words.begin() + static_cast<std::ptrdiff_t>(end + skip), words.end());
    words.resize(end);
  }
  context.json = has_word(words, {"--json"}); /* those of COMMAND are its own */
  bool asks_help = has_word(words, {"-h", "--help"});
  auto refused = [&] { return chosen->takes_command ? kRunFailed : kFailed; };
  if (adapt != nullptr && chosen != nullptr && !asks_help) {
    if (auto ok = adapt(chosen->name, *app.get_subcommand(chosen->name), context); !ok) {
      report(context, ok.error());
      return refused();
    }
  } else if (chosen != nullptr && chosen->needs_root && ::geteuid() != 0 && !asks_help) {
    become_user(argv);
    report(context, {EPERM, fmt::format("`ctnbpf {0}` needs root: run `sudo ctnbpf {0} ...`",
                                        chosen->name)});
    return refused();
  }
  std::vector<std::string> reversed(words.rbegin(), words.rend()); /* as CLI11 wants them */
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error); /* help and version */
    report(context, {EINVAL, usage_message(error, words, app, chosen)});
    return kUsage;
  }
  return context.exit_code;
}

/* A descriptor 0, 1 or 2 that we were started without must not become one of ours, or what we print
 * goes there. The wrong direction makes using it fail, as it would have; a command does not get it. */
void occupy_standard_descriptors() {
  for (int fd = 0; fd <= 2; fd++)
    if (::fcntl(fd, F_GETFD) < 0)
      (void)::open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

}  // namespace

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const Command& one : commands()) names.emplace_back(one.name);
  return names;
}

int run_program(int argc, char** argv, Adapt adapt) {
  try {
    occupy_standard_descriptors();
    return flushed(run(argc, argv, adapt));
  } catch (const std::system_error& error) { /* output that cannot be written */
    if (error.code().value() != EPIPE) note(error.what());
    return kFailed;
  } catch (const std::exception& error) { /* bad_alloc */
    note(error.what());
    return kFailed;
  }
}

}  // namespace ctnbpf::cli
