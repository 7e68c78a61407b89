/* run */
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "commands.h"
#include "files.h"
#include "launch.h"
#include "places.h"
#include "sheet.h"

namespace ctnbpf::user {
namespace {

/* -s and what options like --numtasks stand for. */
std::vector<std::string> settings_of(const Given& given) {
  std::vector<std::string> settings = given.all("--set");
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& one : subsystem->attributes)
      if (one.run_option != nullptr && given.has(one.run_option))
        settings.push_back(
            fmt::format("{}.{}={}", subsystem->name, one.name, given.one(one.run_option)));
  return settings;
}

/* Whose subsystem an attribute is; null: every container has it. ENOENT: it is of none that is mounted. */
Result<const Hierarchy*> hierarchy_of(const Mounts& mounts, const std::string& setting) {
  std::string name = setting.substr(0, setting.find('='));
  std::size_t dot = name.find('.');
  if (dot == std::string::npos) return nullptr;
  return mounts.hierarchy(name.substr(0, dot));
}

/* Each setting on the one of `places` that is in its hierarchy. */
Result<void> set_each(const Mounts& mounts, const std::vector<Place>& places,
                      const std::vector<std::string>& settings, bool best_effort) {
  for (const std::string& one : settings) {
    CTN_ASSIGN(const Hierarchy* wanted, hierarchy_of(mounts, one));
    bool there = std::any_of(places.begin(), places.end(), [&](const Place& place) {
      return wanted == nullptr || place.hierarchy == wanted;
    });
    if (!there)
      return Error{EINVAL, fmt::format("'{}' is of hierarchy '{}': name a container of it with -c",
                                       printable(one), wanted->name)};
  }
  for (const Place& place : places) {
    std::vector<std::string> its;
    for (const std::string& one : settings) {
      CTN_ASSIGN(const Hierarchy* wanted, hierarchy_of(mounts, one));
      if (wanted == nullptr || wanted == place.hierarchy) its.push_back(one);
    }
    CTN_TRY(set_all(place, its, best_effort));
  }
  return {};
}

/* Where a container of this user's can be made: in the one it is in, or the nearest above that is its own, or in
 * the only one at the top. */
Result<Place> own_container(const Mounts& mounts, const Hierarchy& hierarchy) {
  CTN_ASSIGN(auto places, places_of(mounts, std::to_string(::getpid())));
  for (const Where& one : places) {
    if (one.hierarchy != hierarchy.name || one.removed) continue;
    CTN_ASSIGN(Place at, mounts.parse(one.hierarchy + ":" + one.path));
    for (; !at.is_root(); at = at.parent())
      if (::access(at.dir().c_str(), W_OK) == 0) return at;
  }
  CTN_ASSIGN(auto at_top, children({&hierarchy, {}}));
  std::vector<Place> own;
  for (const Place& one : at_top) {
    struct stat st = {};
    if (::stat(one.dir().c_str(), &st) == 0 && st.st_uid == ::geteuid()) own.push_back(one);
  }
  if (own.size() == 1) return own[0];
  return Error{EACCES,
               own.empty()
                   ? fmt::format("user {} has no container in hierarchy '{}': root makes one with "
                                 "`ctnbpf create {}:/NAME --owner USER`",
                                 ::geteuid(), hierarchy.name, hierarchy.name)
                   : fmt::format("user {} has {} containers in hierarchy '{}': say which with -c",
                                 ::geteuid(), own.size(), hierarchy.name)};
}

Result<std::vector<Place>> transient(const Mounts& mounts, const Given& given,
                                     const std::vector<std::string>& settings, Made& made) {
  std::vector<const Hierarchy*> hierarchies;
  for (const std::string& one : settings) {
    CTN_ASSIGN(const Hierarchy* wanted, hierarchy_of(mounts, one));
    bool known = std::find(hierarchies.begin(), hierarchies.end(), wanted) != hierarchies.end();
    if (wanted != nullptr && !known) hierarchies.push_back(wanted);
  }
  if (hierarchies.empty()) hierarchies.push_back(&mounts.all().front());
  std::vector<Place> places;
  for (const Hierarchy* one : hierarchies) {
    CTN_ASSIGN(Place above, own_container(mounts, *one));
    std::string first = fmt::format("run-{}", ::getpid());
    std::string name = given.has("--name") ? from_printable(given.one("--name")) : first;
    CTN_TRY(check_container_name(name));
    for (int next = 2;; next++) {
      auto done = made.make_path(above.child(name), false);
      if (done) break;
      if (done.error().code != EEXIST || given.has("--name")) return done.error();
      name = fmt::format("{}-{}", first, next);
    }
    places.push_back(above.child(name));
  }
  return places;
}

Result<std::vector<Place>> named(const Mounts& mounts, const Given& given, Made& made) {
  std::vector<Place> places;
  for (const std::string& text : given.all("--container")) {
    CTN_ASSIGN(Place place, mounts.parse(text));
    for (const Place& other : places)
      if (other.hierarchy == place.hierarchy)
        return Error{EINVAL, fmt::format("{} and {} are in one hierarchy: a task can be in one "
                                         "container of each only",
                                         other.address(), place.address())};
    struct stat st = {};
    if (given.has("--parents") && ::stat(place.dir().c_str(), &st) != 0 && errno == ENOENT) {
      CTN_TRY(made.make_path(place, true));
    } else {
      CTN_ASSIGN(place, mounts.container(text));
    }
    places.push_back(std::move(place));
  }
  return places;
}

Result<std::vector<Place>> prepare(const Mounts& mounts, const Given& given, pid_t child,
                                   Made& made, std::string& told) {
  std::vector<std::string> settings = settings_of(given);
  CTN_ASSIGN(std::vector<Place> places, given.has("--container")
                                            ? named(mounts, given, made)
                                            : transient(mounts, given, settings, made));
  CTN_TRY(set_each(mounts, places, settings, given.has("--best-effort")));
  for (const Place& one : places) {
    CTN_TRY(move(one, std::to_string(child), false));
    CTN_ASSIGN(std::string text, read_file(one, ".exec"));
    told += text;
  }
  return places;
}

void print_stat(const Place& place, double wall, const cli::Ended& ended) {
  auto sheets = read_sheets({place}, false);
  if (!sheets || sheets->empty() || (*sheets)[0].rows.empty()) return;
  const Sheet& sheet = (*sheets)[0];
  std::string line =
      fmt::format("{}  wall {:.2f} s  {}", place.address().substr(place.hierarchy->name.size() + 1),
                  wall, ended.cpu_time());
  for (std::size_t i = 0; i < sheet.table.columns.size(); i++) {
    const metrics::StatColumn& column = sheet.table.columns[i];
    const auto& value = sheet.at(0, i);
    if (!value) continue;
    if (column.key == "peak")
      line +=
          fmt::format("  {} {}", column.name.substr(0, column.name.find('_')) + " peak", *value);
    if (column.key == "limit" && *value != CTN_UNLIMITED) line += fmt::format(" of {}", *value);
    if (column.key == "refused") line += fmt::format(", {} refused", *value);
  }
  cli::note(line);
}

}  // namespace

int run(const cli::Context& context, const Mounts& mounts, const Given& given) {
  if (context.command.empty()) throw CLI::RequiredError("COMMAND");
  if (given.has("--name") && given.has("--container")) throw CLI::ExcludesError("--name", "-c");
  auto own_failure = [&](const Error& error) {
    (void)cli::fail(context, error);
    return cli::kRunFailed;
  };
  auto child = cli::Launch::start(context.command, cli::hear);
  if (!child) return own_failure(child.error());
  ::signal(SIGPIPE, SIG_IGN); /* a message nobody reads must not stop the cleaning up */
  Made made;
  std::string told;
  auto places = prepare(mounts, given, child->pid(), made, told);
  if (!places) {
    child->abandon(); /* before what was made is removed: it may be in there */
    made.undo();
    return own_failure(places.error());
  }
  bool transient = !given.has("--container") && !given.has("--keep");
  made.keep();
  auto started = std::chrono::steady_clock::now();
  int code = 0;
  cli::Ended ended;
  if (auto released = child->release(told); !released) {
    (void)cli::fail(context,
                    released.error().within(fmt::format("'{}'", printable(context.command[0]))));
    code = cli::exec_failure(released.error().code);
  } else {
    ended = child->wait();
    code = ended.exit_code();
  }
  std::chrono::duration<double> wall = std::chrono::steady_clock::now() - started;
  for (const Place& one : *places) {
    if (given.has("--stat")) print_stat(one, wall.count(), ended);
    if (!transient) continue;
    if (auto done = remove(one); !done)
      cli::note(fmt::format("{} stays: {}", one.address(), done.error().what));
  }
  return code;
}

}  // namespace ctnbpf::user
