/* What every command shares, and the table of commands. */
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "ctnbpf/result.h"
#include "ctnbpf/state.h"
#include "pins.h"

namespace ctnbpf::cli {

/* Exit codes; `run` has its own (cmd_run.cpp). */
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kKernelLacks = 3;
inline constexpr int kRunFailed = 125;

struct Context {
  std::string pin_root = kDefaultPinRoot;
  bool json = false;
  bool verbose = false;
  int exit_code = kDone;
  std::vector<std::string> command; /* of `run` and `exec`: what follows their own options */

  Pins pins() const { return Pins(pin_root); }
};

/* A command's options live as long as the CLI::App; its callback sets the exit code. */
struct Command {
  const char* name;
  const char* help;
  void (*setup)(CLI::App& app, Context& context);
  bool needs_root = true;
  bool takes_command = false; /* its options end at the first word that is none, or at `--` */
  bool hidden = false;        /* for programs: help does not list it */
  bool after_dashes = false;  /* of those: only at `--` */
};
std::span<const Command> commands();

const char* version(); /* "1.0.0" */

/* What these print appears when the writer lock is released, if open_writer() has taken it; nothing else may be
 * printed meanwhile. */

/* One line on stderr, `ctnbpf: ...`; under --json the error on stdout too, as JSON. */
void report(const Context& context, const Error& error);
void note(const std::string& message);

/* What there is to say of limits that were set and that this kernel lets somebody run over: once for each
 * subsystem, until `down`. To be noted when the writer is closed. */
std::vector<std::string> new_caveats(Writer& writer, const std::vector<std::string>& settings);
/* Reports, and says which exit code the error calls for. */
int fail(const Context& context, const Error& error);
/* fail() for ENOTSUP adds why this kernel cannot, and the cure. */
Error with_cure(const Error& error);

/* As text without anything that a terminal obeys; `indent` as dump() takes it. */
std::string json_text(const nlohmann::ordered_json& json, int indent);
void print_json(const nlohmann::ordered_json& json);

/* Failures of a command that goes on after one. Each is a line on stderr at once; finish() prints, under
 * --json, the document that has them all. */
class Failures {
 public:
  explicit Failures(const Context& context) : context_(context) {}
  void add(const Error& error);
  /* kFailed if there is one; kKernelLacks if that is all that was wrong. */
  int finish() const;

 private:
  const Context& context_;
  std::vector<Error> errors_;
};

/* The exit code, once what was printed is written: what could not be is a failure too. A reader that went away
 * knows that it did. */
int flushed(int code);

/* Calls `one` for each item; every failure is reported. */
int for_each(const Context& context, const std::vector<std::string>& items,
             const std::function<Result<void>(const std::string&)>& one);

/* What a command does that finds nothing up. */
enum class BringUp {
  kNo,      /* ENOENT */
  kBare,    /* brings it up, without a hierarchy */
  kDefault, /* with the default hierarchy */
  kEnsure,  /* likewise, and makes that one too where it is up and has no hierarchy at all */
};
/* With kUsed it can make no containers. */
Result<Writer> open_writer(const Context& context, BringUp first = BringUp::kNo,
                           Writer::Slots slots = Writer::Slots::kAll);

/* For an option that is a time. */
CLI::Validator seconds_between(double lowest, double highest);

/* "HUP", "INT" ... */
std::vector<std::string> signal_names();

/* A positive pid from text: EINVAL. */
Result<int> parse_pid(const std::string& text);

void add_top(CLI::App& app, Context& context);
void add_exporter(CLI::App& app, Context& context);
void add_doctor(CLI::App& app, Context& context);
void add_up(CLI::App& app, Context& context);
void add_down(CLI::App& app, Context& context);
void add_subsystems(CLI::App& app, Context& context);
void add_hierarchy(CLI::App& app, Context& context);
void add_create(CLI::App& app, Context& context);
void add_rm(CLI::App& app, Context& context);
void add_rename(CLI::App& app, Context& context);
void add_get(CLI::App& app, Context& context);
void add_set(CLI::App& app, Context& context);
void add_attach(CLI::App& app, Context& context);
void add_ps(CLI::App& app, Context& context);
void add_where(CLI::App& app, Context& context);
void add_run(CLI::App& app, Context& context);
void add_tree(CLI::App& app, Context& context);
void add_stat(CLI::App& app, Context& context);
void add_agentd(CLI::App& app, Context& context);
void add_oci_hook(CLI::App& app, Context& context);
void add_kill(CLI::App& app, Context& context);
void add_explain(CLI::App& app, Context& context);
void add_events(CLI::App& app, Context& context);
void add_files(CLI::App& app, Context& context);
void add_debug(CLI::App& app, Context& context);
void add_fsck(CLI::App& app, Context& context);
void add_complete(CLI::App& app, Context& context);
void add_man(CLI::App& app, Context& context);
void add_apply(CLI::App& app, Context& context);
void add_save(CLI::App& app, Context& context);
void add_import(CLI::App& app, Context& context);
void add_exec(CLI::App& app, Context& context);
void add_mount(CLI::App& app, Context& context);
void add_chown(CLI::App& app, Context& context);

}  // namespace ctnbpf::cli
