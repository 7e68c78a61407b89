/* create, rm, rename, set, attach */
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "files.h"

namespace ctnbpf::user {
namespace {

std::string may_not(const std::string& what) {
  return fmt::format("user {} may not {}", ::geteuid(), what);
}

/* A directory of another's is refused by the kernel, which says no more than that. */
Error change_failure(const Place& parent, int code, const std::string& doing) {
  if (code == EACCES)
    return {code, may_not(fmt::format("change what is in {}: `ctnbpf chown` gives a container to a "
                                      "user",
                                      parent.address()))};
  return failure(*parent.hierarchy, parent.address(), code, doing);
}

Result<void> is_no_root(const Place& place, const char* doing) {
  if (!place.is_root()) return {};
  return Error{EPERM, fmt::format("cannot {} {}: it is a root, there as long as its hierarchy",
                                  doing, place.address())};
}

std::string file_name(const Place& place, const char* name) {
  std::string address = place.address();
  return address + (address.ends_with('/') ? "" : "/") + name;
}

}  // namespace

Result<void> make(const Place& place) {
  if (::mkdir(place.dir().c_str(), 0755) == 0) return {};
  int code = errno;
  if (code == ENOENT)
    return Error{code, fmt::format("cannot create {}: {} does not exist; -p makes it",
                                   place.address(), place.parent().address())};
  if (code == EEXIST) return Error{code, fmt::format("{} exists already", place.address())};
  return change_failure(place.parent(), code, fmt::format("create {}", place.address()));
}

Result<void> remove(const Place& place) {
  CTN_TRY(is_no_root(place, "remove"));
  if (::rmdir(place.dir().c_str()) == 0) return {};
  return change_failure(place.parent(), errno, fmt::format("remove {}", place.address()));
}

Result<void> set_all(const Place& place, const std::vector<std::string>& settings,
                     bool best_effort) {
  if (settings.empty()) return {};
  std::string text = best_effort ? "--best-effort\n" : "";
  for (const std::string& one : settings) {
    if (one.find('\n') != std::string::npos)
      return Error{EINVAL, fmt::format("setting '{}' has a line break: leave it out",
                                       printable(one.substr(0, 80)))};
    text += one + "\n";
  }
  int code = write_file(place.file(".set"), text);
  if (code == 0) return {};
  if (code == EACCES)
    return Error{code, may_not(fmt::format("set attributes of {}: that is for the owner of the "
                                           "container above",
                                           place.address()))};
  return failure(*place.hierarchy, file_name(place, ".set"), code,
                 fmt::format("set attributes of {}", place.address()));
}

Result<void> move(const Place& place, const std::string& number, bool thread) {
  const char* list = thread ? "tasks" : "procs";
  int code = write_file(place.file(list), number);
  if (code == 0) return {};
  return failure(*place.hierarchy, file_name(place, list), code,
                 code == EACCES ? may_not("attach to " + place.address() +
                                          ": `ctnbpf chown` gives a container to a user")
                                : fmt::format("attach {} to {}", number, place.address()));
}

Result<void> Made::make_path(const Place& place, bool parents) {
  std::vector<Place> missing{place};
  struct stat st = {};
  while (parents && missing.back().path.size() > 1 &&
         ::stat(missing.back().parent().dir().c_str(), &st) != 0 && errno == ENOENT)
    missing.push_back(missing.back().parent());
  for (auto one = missing.rbegin(); one != missing.rend(); ++one) {
    CTN_TRY(make(*one));
    places_.push_back(*one);
  }
  return {};
}

void Made::undo() {
  for (auto one = places_.rbegin(); one != places_.rend(); ++one) (void)remove(*one);
  places_.clear();
}

int create(const cli::Context& context, const Mounts& mounts, const Given& given) {
  return cli::for_each(context, given.all("ADDR"), [&](const std::string& text) -> Result<void> {
    CTN_ASSIGN(Place place, mounts.parse(text));
    if (place.is_root())
      return Error{EEXIST,
                   fmt::format("{} is a root: it exists with its hierarchy", place.address())};
    Made made;
    CTN_TRY(made.make_path(place, given.has("--parents")));
    CTN_TRY(set_all(place, given.all("--set"), given.has("--best-effort")));
    made.keep();
    return {};
  });
}

int rm(const cli::Context& context, const Mounts& mounts, const Given& given) {
  cli::Failures failures(context);
  for (const std::string& text : given.all("ADDR")) {
    auto top = mounts.container(text);
    auto all = !top                       ? Result<std::vector<Place>>(top.error())
               : given.has("--recursive") ? subtree(*top)
                                          : Result(std::vector{*top});
    if (!all) {
      failures.add(all.error());
      continue;
    }
    /* What is above one that stays is in use by it, which need not be said. */
    std::vector<std::string> staying;
    for (auto one = all->rbegin(); one != all->rend(); ++one) {
      bool above = std::any_of(staying.begin(), staying.end(), [&](const std::string& dir) {
        return dir.starts_with(one->dir() + "/");
      });
      if (above || (one->is_root() && given.has("--recursive"))) continue;
      if (auto done = remove(*one); !done) {
        failures.add(done.error());
        staying.push_back(one->dir());
      }
    }
  }
  return failures.finish();
}

int rename(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto done = [&]() -> Result<void> {
    CTN_ASSIGN(Place place, mounts.container(given.one("ADDR")));
    CTN_TRY(is_no_root(place, "rename"));
    std::string name = from_printable(given.one("NAME"));
    if (name.find('/') != std::string::npos)
      return Error{EXDEV, fmt::format("'{}' names another parent: a container stays below its "
                                      "parent; give a name without '/'",
                                      printable(name))};
    CTN_TRY(check_container_name(name));
    Place wanted = place.parent().child(name);
    if (::rename(place.dir().c_str(), wanted.dir().c_str()) == 0) return {};
    return change_failure(place.parent(), errno,
                          fmt::format("rename {} to '{}'", place.address(), printable(name)));
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

int set(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto done = [&]() -> Result<void> {
    CTN_ASSIGN(Place place, mounts.container(given.one("ADDR")));
    return set_all(place, given.all("setting"), given.has("--best-effort"));
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

int attach(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto place = mounts.container(given.one("ADDR"));
  if (!place) return cli::fail(context, place.error());
  return cli::for_each(context, given.all("PID"), [&](const std::string& text) -> Result<void> {
    CTN_ASSIGN(int pid, cli::parse_pid(text));
    return move(*place, std::to_string(pid), given.has("--thread"));
  });
}

}  // namespace ctnbpf::user
