#include "service/pinning.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <filesystem>

#include "ctnbpf/address.h"
#include "kernel/instances.h"

namespace ctnbpf {
namespace {

namespace fs = std::filesystem;

/* bpffs allows no dots. */
constexpr const char* kBeingBuilt = "being-built";
constexpr const char* kBeingRemoved = "being-removed";

}  // namespace

std::string being_built(const Pins& pins) { return pins.root() + "/" + kBeingBuilt; }
std::string being_removed(const Pins& pins) { return pins.root() + "/" + kBeingRemoved; }

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

Result<void> remove_pins(const std::string& root) {
  std::error_code error;
  for (const char* part : {"/links", "/progs", "/maps", ""}) fs::remove_all(root + part, error);
  if (error) return Error{error.value(), fmt::format("remove '{}': {}", root, error.message())};
  return {};
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return system_error(fmt::format("make '{}'", path));
  return {};
}

Result<void> move_pins(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_error(fmt::format("move '{}' to '{}'", from, to));
  return {};
}

Result<void> require_bpffs(const std::string& parent) {
  struct statfs st = {};
  if (::statfs(parent.c_str(), &st) != 0)
    return system_error(fmt::format("look at '{}', which is to hold the pins", parent));
  if (st.f_type == BPF_FS_MAGIC) return {};
  if (parent != "/sys/fs/bpf")
    return Error{EINVAL,
                 fmt::format("'{0}' is not on a BPF file system: mount one there (`mount -t bpf "
                             "bpf {0}`) or choose another --bpffs",
                             parent)};
  if (::mount("bpf", parent.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
    return system_error("mount the BPF file system on '/sys/fs/bpf'");
  return {};
}

Result<void> require_place(const Pins& pins) {
  fs::path root = pins.root();
  auto refuse = [&](int code, const std::string& why) {
    return Error{code, fmt::format("'{}' {}: choose another --bpffs", pins.root(), why)};
  };
  for (const char* kept : {"links", "progs", "maps", kBeingBuilt, kBeingRemoved})
    if (root.filename() == kept) return refuse(EINVAL, "has a name that is kept for what is in it");
  if (Pins(root.parent_path()).exist()) return refuse(EINVAL, "is in another instance's place");
  if (!is_there(root) || pins.exist()) return {};
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(root, error)))
    return refuse(EEXIST, "is something else's");
  bool ours = is_there(being_built(pins)) || is_there(being_removed(pins));
  for (const auto& entry : fs::directory_iterator(root, error)) {
    std::string name = entry.path().filename();
    bool part = ours && (name == "links" || name == "progs");
    if (!part && name != kBeingBuilt && name != kBeingRemoved)
      return refuse(EEXIST, fmt::format("is something else's: it has '{}'", printable(name)));
  }
  return {};
}

std::vector<std::string> left_over_pins(const Pins& pins) {
  std::vector<std::string> found;
  for (const std::string& path : {being_built(pins), being_removed(pins)})
    if (is_there(path)) found.push_back(path);
  return found;
}

/* Links and programs that are in place without maps are of an `up` or `down` that was killed, too: with
 * one of the two directories beside them, which goes last. */
Result<void> remove_left_over_pins(const Pins& pins) {
  bool there = pins.exist();
  if (!left_over_pins(pins).empty()) {
    retire(Pins(being_removed(pins)));
    for (const char* part : {"links", "progs"})
      if (!there) CTN_TRY(remove_pins(pins.root() + "/" + part));
    CTN_TRY(remove_pins(being_removed(pins)));
    CTN_TRY(remove_pins(being_built(pins)));
  }
  if (!there) (void)::rmdir(pins.root().c_str());
  return {};
}

}  // namespace ctnbpf
