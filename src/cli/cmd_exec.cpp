/* exec: this process goes into containers and becomes a command, so that whoever started it has the command as
 * its child. */
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "context.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "places.h"
#include "ctnbpf/settings.h"

namespace ctnbpf::cli {
namespace {

struct Options {
  std::vector<std::string> addresses;
  std::vector<std::string> settings;
  bool best_effort = false;
  bool move = false;
};

/* The file that execvp(3) would take. ENOENT, EACCES: there is none, or none that can be executed; known before
 * anything is changed. */
Result<std::string> find_command(const std::string& name) {
  auto usable = [](const std::string& path) -> int {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) return errno;
    if (!S_ISREG(info.st_mode)) return EACCES;
    return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
  };
  int why = ENOENT;
  if (name.find('/') != std::string::npos) {
    why = usable(name);
    if (why == 0) return name;
  } else if (!name.empty()) {
    const char* set = std::getenv("PATH");
    std::string path = set != nullptr ? set : "/bin:/usr/bin";
    for (std::size_t begin = 0; begin <= path.size();) {
      std::size_t end = std::min(path.find(':', begin), path.size());
      std::string dir = path.substr(begin, end - begin);
      begin = end + 1;
      std::string file = (dir.empty() ? "." : dir) + "/" + name;
      int one = usable(file);
      if (one == 0) return file;
      if (one == EACCES) why = EACCES;
    }
  }
  return Error{why, fmt::format("'{}': {}", printable(name), std::strerror(why))};
}

/* What is set after the attach is set for all or none of the containers, and the attach of a process that then
 * ends has left no trace. */
Result<std::string> enter(const Context& context, const Options& options,
                          std::vector<std::string>& caveats) {
  CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kNo, Writer::Slots::kUsed));
  writer.allow_moves(options.move);
  CTN_ASSIGN(auto addresses, distinct_addresses(writer, options.addresses));
  std::vector<Place> places;
  for (const Address& address : addresses) {
    CTN_ASSIGN(Slot slot, tree::find(writer, address));
    places.push_back({slot, tree::address_of(writer, slot), false});
  }
  for (const Place& place : places) CTN_TRY(attach(writer, place.slot, ::getpid(), false));
  CTN_TRY(apply_settings(writer, slots_of(places), options.settings, options.best_effort, "ADDR"));
  caveats = new_caveats(writer, options.settings);
  return what_to_tell(writer, places);
}

int exec(const Context& context, const Options& options) {
  auto file = find_command(context.command[0]);
  if (!file) {
    (void)fail(context, file.error());
    return exec_failure(file.error().code);
  }
  std::vector<std::string> caveats;
  auto told = enter(context, options, caveats);
  if (!told) {
    (void)fail(context, with_cure(told.error()));
    return kRunFailed;
  }
  for (const std::string& caveat : caveats) note(caveat);
  hear(*told);
  std::vector<char*> words;
  for (const std::string& word : context.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(file->c_str(), words.data()); /* also what has no #! line */
  Error failed = system_error(fmt::format("'{}'", printable(context.command[0])));
  (void)fail(context, failed);
  return exec_failure(failed.code);
}

}  // namespace

void add_exec(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->addresses, "containers, one of each hierarchy")->required();
  app.add_option("-s,--set", options->settings, "set an attribute of the container")
      ->type_name("ATTR=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  app.add_flag("--move", options->move,
               "also out of a group of a service manager or with limits (`doctor`)");
  app.footer(
      "No process is made: COMMAND has the pid of this one, so in a unit of systemd it is the main\n"
      "process, and Type=notify works as ever. Example:\n"
      "  ExecStart=/usr/local/sbin/ctnbpf exec numtasks:/web -- /usr/sbin/nginx -g 'daemon off;'\n"
      "Exit codes: COMMAND's own; 127 COMMAND not found, 126 it cannot be executed; 125 ctnbpf\n"
      "failed or the kernel lacks what was asked; 2 usage.");
  app.callback([&context, options] {
    if (context.command.empty()) throw CLI::RequiredError("-- COMMAND");
    context.exit_code = exec(context, *options);
  });
}

}  // namespace ctnbpf::cli
