#include "mounts.h"

#include <fmt/format.h>
#include <mntent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <sstream>

#include "ctnbpf/nearest.h"
#include "files.h"

namespace ctnbpf::user {
namespace {

struct Mount {
  std::string dir;
  bool read_only;
};

std::vector<Mount> mounts_of_root() {
  std::vector<Mount> found;
  std::unique_ptr<FILE, int (*)(FILE*)> file(::setmntent("/proc/self/mounts", "re"), ::endmntent);
  mntent entry = {};
  char text[8192];
  while (file && ::getmntent_r(file.get(), &entry, text, sizeof(text)) != nullptr)
    if (std::string_view(entry.mnt_type) == "fuse.ctnbpf" &&
        ("," + std::string(entry.mnt_opts) + ",").find(",user_id=0,") != std::string::npos)
      found.push_back({entry.mnt_dir, ::hasmntopt(&entry, MNTOPT_RO) != nullptr});
  std::stable_sort(found.begin(), found.end(),
                   [](const Mount& a, const Mount& b) { return a.read_only < b.read_only; });
  return found;
}

}  // namespace

std::string Hierarchy::subsystem_list() const {
  std::string list;
  for (const auto& [subsystem, level] : subsystems) list += (list.empty() ? "" : ",") + subsystem;
  return list;
}

std::string Place::dir() const {
  std::string dir = hierarchy->dir;
  for (const std::string& name : path) dir += "/" + name;
  return dir;
}

std::string Place::address() const { return printable(Address{hierarchy->name, path}.to_string()); }

Place Place::parent() const { return {hierarchy, {path.begin(), path.end() - 1}}; }

Place Place::child(const std::string& name) const {
  Place place = *this;
  place.path.push_back(name);
  return place;
}

Result<Mounts> Mounts::find() {
  Mounts mounts;
  for (const Mount& mount : mounts_of_root()) {
    auto text =
        read_file(mount.dir + "/.hierarchies"); /* one that does not have it serves others */
    if (!text) continue;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      Hierarchy one;
      std::string below;
      words >> one.name >> below;
      one.mount = mount.dir;
      one.dir = below == "." ? mount.dir : mount.dir + "/" + below;
      std::string subsystem;
      for (std::uint32_t level = 0; words >> subsystem >> level;)
        one.subsystems.emplace_back(subsystem, level);
      bool known = std::any_of(mounts.all_.begin(), mounts.all_.end(),
                               [&](const Hierarchy& other) { return other.name == one.name; });
      if (!known) mounts.all_.push_back(std::move(one));
    }
  }
  if (mounts.all_.empty()) return Error{ENOENT, "no mount of containers can be seen"};
  return mounts;
}

Result<const Hierarchy*> Mounts::hierarchy(std::string_view name) const {
  for (const Hierarchy& one : all_)
    if (one.name == name) return &one;
  std::vector<std::string> names;
  for (const Hierarchy& one : all_) {
    names.push_back(one.name);
    for (const auto& [subsystem, level] : one.subsystems) {
      if (subsystem == name) return &one;
      names.push_back(subsystem);
    }
  }
  return Error{ENOENT, fmt::format("no hierarchy or subsystem '{}' is mounted:{} `ctnbpf tree` "
                                   "shows what is",
                                   printable(name.substr(0, 80)), did_you_mean(name, names))};
}

Result<Place> Mounts::parse(const std::string& text) const {
  CTN_ASSIGN(Address address, parse_address(text));
  CTN_ASSIGN(const Hierarchy* found, hierarchy(address.hierarchy));
  return Place{found, address.path};
}

Result<Place> Mounts::container(const std::string& text) const {
  CTN_ASSIGN(Place wanted, parse(text));
  Place at = {wanted.hierarchy, {}};
  for (const std::string& name : wanted.path) {
    Place next = at.child(name);
    struct stat st = {};
    if (::stat(next.dir().c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
      at = std::move(next);
      continue;
    }
    if (errno == EACCES && !S_ISREG(st.st_mode))
      return Error{EACCES, fmt::format("user {} may not look into {}", ::geteuid(), at.address())};
    return Error{ENOENT, fmt::format("no container {}: `ctnbpf tree {}:/` shows what there is",
                                     next.address(), wanted.hierarchy->name)};
  }
  return at;
}

}  // namespace ctnbpf::user
