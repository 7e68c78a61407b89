#include "mounting.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/address.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/service.h"
#include "server.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::containerfs {
namespace {

constexpr const char* kType = "fuse.ctnbpf";
constexpr const char* kNamed = "name=ctnbpf"; /* the hierarchy of cgroup v1 that libcgroup sees */

std::set<std::string> members_of(const State& state, std::uint32_t hierarchy) {
  std::set<std::string> names;
  for (const Subsystem* one : bound_subsystems(state, hierarchy)) names.insert(one->name);
  return names;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

Result<std::uint32_t> by_name(Writer& writer, const Request& request) {
  std::uint32_t h = tree::hierarchy_named(writer, request.hierarchy);
  if (request.subsystems.empty()) return tree::find_hierarchy(writer, request.hierarchy);
  if (h == CTN_MAX_HIER)
    return tree::create_hierarchy(writer, request.hierarchy, request.subsystems);
  if (members_of(writer, h) == std::set(request.subsystems.begin(), request.subsystems.end()))
    return h;
  std::string has = subsystem_list(writer, h);
  return Error{EBUSY, fmt::format("hierarchy '{}' has {}, not {}: leave the subsystems out, or "
                                  "destroy it first",
                                  request.hierarchy, has.empty() ? "no subsystem" : has,
                                  joined(request.subsystems, ","))};
}

Result<std::uint32_t> by_subsystems(Writer& writer, const std::vector<std::string>& wanted) {
  std::set<std::string> exactly(wanted.begin(), wanted.end());
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(writer, h) && members_of(writer, h) == exactly) return h;
  return tree::create_hierarchy(writer, joined(wanted, "-"), wanted);
}

/* Without any word: as in 2006, every subsystem. */
Result<std::uint32_t> with_every_subsystem(Writer& writer) {
  CTN_TRY(ensure_hierarchy(writer));
  std::vector<std::uint32_t> bound;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(writer, h) && !members_of(writer, h).empty()) bound.push_back(h);
  if (bound.size() == 1) return bound[0];
  return Error{bound.empty() ? ENOENT : EBUSY,
               fmt::format("{} hierarchies have subsystems: name one in place of `none`, or its "
                           "subsystems with -o",
                           bound.size())};
}

/* Wherever both are. */
Result<std::uint32_t> for_cpuset(Writer& writer) {
  auto bound = [&](const char* name) {
    return load(writer.core().bound[find_subsystem(name)->id]);
  };
  if (bound("cpuset") != 0 && bound("cpuset") == bound("memset")) return bound("cpuset") - 1U;
  if (bound("cpuset") != 0 && bound("memset") != 0)
    return Error{EBUSY,
                 "cpuset and memset are bound to different hierarchies: the cpuset file "
                 "system needs both in one"};
  return tree::create_hierarchy(writer, "cpuset", {"cpuset", "memset"});
}

/* The server must not be limited, nor end with a container. */
Result<void> stay_in_roots(Writer& writer) {
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(writer, h)) continue;
    CTN_ASSIGN(auto self, walk_tasks(writer.pins(), ::gettid()));
    if (!self.empty() && container_of(self[0], h) != h)
      CTN_TRY(attach(writer, h, ::getpid(), false));
  }
  return {};
}

bool is_on(const std::string& dir, long magic) {
  struct statfs system = {};
  return ::statfs(dir.c_str(), &system) == 0 && system.f_type == magic;
}

/* Is the mount on top of `dir` ours? By the kernel's own list: a dead one does not answer. */
bool is_ours(const std::string& dir) {
  std::ifstream mounts("/proc/self/mounts");
  std::string type;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string source;
    std::string target;
    std::string its_type;
    words >> source >> target >> its_type;
    std::string decoded; /* "\040" is a blank */
    for (std::size_t i = 0; i < target.size(); i++) {
      bool escaped = target[i] == '\\' && i + 3 < target.size();
      decoded +=
          escaped ? static_cast<char>(std::stoi(target.substr(i + 1, 3), nullptr, 8)) : target[i];
      i += escaped ? 3 : 0;
    }
    if (decoded == dir) type = its_type;
  }
  return type == kType;
}

Result<bool> mount_named(const std::string& dir) {
  if (is_on(dir, CGROUP_SUPER_MAGIC)) return false; /* left by a server that was killed */
  if (::mount("ctnbpf", dir.c_str(), "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              fmt::format("none,{}", kNamed).c_str()) == 0)
    return true;
  return system_error(
      fmt::format("mount a named hierarchy of cgroup v1 on '{}' for libcgroup", printable(dir)));
}

}  // namespace

Result<Style> find_hierarchy(const Request& request) {
  Pins pins(request.pin_root);
  Style style;
  style.prefix = request.prefix;
  style.cpuset = request.cpuset;
  if (!pins.exist()) {
    LoadSettings settings;
    /* Subsystems that are asked for are to be free. */
    settings.default_layout = request.subsystems.empty() && !request.cpuset;
    CTN_TRY(bring_up(pins, settings));
  }
  CTN_ASSIGN(Writer writer, Writer::open(pins));
  if (request.all) return style;
  CTN_ASSIGN(std::uint32_t h, request.cpuset               ? for_cpuset(writer)
                              : !request.hierarchy.empty() ? by_name(writer, request)
                              : !request.subsystems.empty()
                                  ? by_subsystems(writer, request.subsystems)
                                  : with_every_subsystem(writer));
  style.hierarchy = tree::hierarchy_name(writer, h);
  return style;
}

bool serves_cpuset(const std::string& dir) {
  return is_on(dir, FUSE_SUPER_MAGIC) && ::access((dir + "/cpus").c_str(), R_OK) == 0;
}

Result<std::string> prepare_directory(const std::string& dir) {
  struct stat st = {};
  for (bool again = false;; again = true) {
    if (::stat(dir.c_str(), &st) == 0) break;
    if (errno != ENOTCONN || again)
      return system_error(fmt::format("mount on '{}'", printable(dir)));
    /* Its server is gone. A path to it cannot be made absolute, but for what is in the text itself. */
    std::string place =
        dir.starts_with('/')
            ? dir
            : fmt::format(
                  "{}/{}",
                  [] {
                    char here[PATH_MAX] = {};
                    return std::string(::getcwd(here, sizeof(here)) != nullptr ? here : "");
                  }(),
                  dir);
    while (place.size() > 1 && place.ends_with('/')) place.pop_back();
    if (!is_ours(place) || ::umount2(place.c_str(), MNT_DETACH) != 0)
      return Error{
          ENOTCONN,
          fmt::format("what is mounted on '{}' does not answer: unmount it first", printable(dir))};
  }
  if (!S_ISDIR(st.st_mode))
    return Error{ENOTDIR, fmt::format("cannot mount on '{}': it is no directory", printable(dir))};
  char* path = ::realpath(dir.c_str(), nullptr);
  if (path == nullptr) return system_error(fmt::format("mount on '{}'", printable(dir)));
  std::string absolute = path;
  std::free(path);
  return absolute;
}

void serve_mount(const Request& request, const std::string& dir, const Style& style,
                 const std::function<void(const Result<void>&)>& mounted) {
  /* Its threads use it until the process ends. */
  Server& server = *new Server(Pins(request.pin_root), style);
  bool named = false;
  auto done = [&]() -> Result<void> {
    {
      CTN_ASSIGN(Writer writer, Writer::open(server.pins()));
      CTN_TRY(stay_in_roots(writer));
    }
    if (request.libcgroup) {
      CTN_ASSIGN(named, mount_named(dir));
    }
    std::string options = fmt::format(
        "allow_other,default_permissions,noexec,subtype=ctnbpf,fsname={}{}",
        style.hierarchy.empty() ? "ctnbpf" : style.hierarchy, request.read_only ? ",ro" : "");
    auto ok = server.mount(dir, options);
    if (!ok && named) (void)::umount2(dir.c_str(), MNT_DETACH);
    return ok;
  }();
  mounted(done);
  if (!done) return;
  server.serve();
  if (request.libcgroup && is_on(dir, CGROUP_SUPER_MAGIC)) (void)::umount2(dir.c_str(), MNT_DETACH);
}

}  // namespace ctnbpf::containerfs
