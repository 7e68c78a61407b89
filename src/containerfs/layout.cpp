#include "layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ctnbpf/attributes.h"
#include "ctnbpf/address.h"
#include "ctnbpf/tree.h"
#include "names.h"

namespace ctnbpf::containerfs {
namespace {

constexpr mode_t kReadOnly = 0444;

/* Of the root of a mount. */
struct TopFile {
  std::string_view name;
  std::uint32_t file;
  bool always; /* else where it is not the cpuset file system */
};
constexpr std::array kTopFiles = {
    TopFile{".errors", kErrors, true},
    TopFile{"user_beancounters", kUserBeancounters, false},
    TopFile{".hierarchies", kHierarchies, false},
    TopFile{".where", kWhere, false},
    TopFile{".explain", kExplain, false},
};

bool is_top_file(const Inode& inode) {
  return std::any_of(kTopFiles.begin(), kTopFiles.end(),
                     [&](const TopFile& one) { return one.file == inode.file; });
}

bool is_shown(const TopFile& file, const Style& style) { return file.always || !style.cpuset; }

/* Times of creation are far apart in their low bits too. */
std::uint32_t folded(std::uint64_t time) { return static_cast<std::uint32_t>(time ^ time >> 32); }

}  // namespace

bool is_directory(const Inode& inode) { return inode.file == kDirectory || inode.file == kTop; }

std::uint32_t Layout::generation(Slot slot) const {
  return slot < CTN_MAX_HIER ? folded(state_.core().hierarchies[slot].created_ns)
                             : load(state_.nodes()[slot].generation);
}

Result<Inode> Layout::resolve(Inode inode) const {
  if (inode.file != kTop || style_.hierarchy.empty()) return inode;
  std::uint32_t hierarchy = tree::hierarchy_named(state_, style_.hierarchy);
  if (hierarchy == CTN_MAX_HIER)
    return Error{ENOENT, fmt::format("hierarchy '{}', which is mounted here, was destroyed",
                                     style_.hierarchy)};
  return directory(hierarchy);
}

bool Layout::alive(const Inode& inode) const {
  if (inode.file == kTop || is_top_file(inode)) return true;
  if (inode.slot >= state_.nodes().size()) return false;
  bool there = inode.slot < CTN_MAX_HIER ? tree::hierarchy_active(state_, inode.slot)
                                         : load(state_.nodes()[inode.slot].state) == CTN_ACTIVE;
  if (!there || generation(inode.slot) != inode.generation) return false;
  if (inode.file < kSubsystems) return true;
  std::uint32_t subsystem = (inode.file - kSubsystems) / kAttributesEach;
  return load(state_.core().bound[subsystem]) == state_.nodes()[inode.slot].hierarchy + 1;
}

std::vector<Slot> Layout::children(Slot slot) const {
  if (!style_.cpuset) return tree::children(state_, slot);
  std::vector<Slot> found = tree::children(state_, slot, tree::Order::kAny);
  std::stable_sort(found.begin(), found.end(),
                   [&](Slot a, Slot b) { /* as it listed them */
                                         return state_.infos()[a].created_ns >
                                                state_.infos()[b].created_ns;
                   });
  return found;
}

std::vector<Entry> Layout::files(const Inode& dir, bool top) const {
  std::vector<Entry> found;
  if (dir.file == kDirectory)
    for (const FileName& one : FileNames::of(style_, state_, dir.slot).all())
      found.push_back({one.name, of(one.file, dir.slot)});
  if (top)
    for (const TopFile& one : kTopFiles)
      if (is_shown(one, style_)) found.push_back({std::string(one.name), {one.file, 0, 0}});
  return found;
}

std::optional<Inode> Layout::find_file(const Inode& dir, bool top, std::string_view name) const {
  if (dir.file == kDirectory)
    if (std::uint32_t file = FileNames::of(style_, state_, dir.slot).find(name); file != 0)
      return of(file, dir.slot);
  if (top)
    for (const TopFile& one : kTopFiles)
      if (is_shown(one, style_) && one.name == name) return Inode{one.file, 0, 0};
  return std::nullopt;
}

std::vector<Entry> Layout::list(const Inode& dir, bool top) const {
  std::vector<Entry> found = files(dir, top);
  if (dir.file == kTop) {
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (tree::hierarchy_active(state_, h))
        found.push_back({tree::hierarchy_name(state_, h), directory(h)});
    return found;
  }
  for (Slot child : children(dir.slot)) /* One may have been given the name of a file elsewhere. */
    if (std::string name = tree::name_of(state_, child); !find_file(dir, top, name))
      found.push_back({name, directory(child)});
  return found;
}

std::optional<Inode> Layout::find(const Inode& dir, bool top, std::string_view name) const {
  if (auto file = find_file(dir, top, name)) return file;
  if (dir.file == kTop) {
    std::uint32_t h = tree::hierarchy_named(state_, name);
    return h < CTN_MAX_HIER ? std::optional(directory(h)) : std::nullopt;
  }
  Slot child = tree::find_child(state_, dir.slot, name);
  return child != 0 ? std::optional(directory(child)) : std::nullopt;
}

std::optional<AttributeRef> Layout::attribute(const Inode& inode) {
  static const std::vector<AttributeRef> kOfCore = core_attributes();
  if (inode.file >= kSubsystems) {
    std::uint32_t id = (inode.file - kSubsystems) / kAttributesEach;
    std::uint32_t index = (inode.file - kSubsystems) % kAttributesEach;
    for (const Subsystem* one : subsystems())
      if (one->id == id && index < one->attributes.size()) {
        const Attribute& found = one->attributes[index];
        return AttributeRef{one, &found, fmt::format("{}.{}", one->name, found.name)};
      }
  } else if (inode.file >= kCore) {
    if (inode.file - kCore < kOfCore.size()) return kOfCore[inode.file - kCore];
  }
  return std::nullopt;
}

Ownership Layout::ownership(const Inode& inode) const {
  switch (inode.file) {
    case kTop: return {0, 0, 0755};
    case kDirectory: return directory_ownership(state_, inode.slot);
    case kTasks:
    case kProcs: return tasks_ownership(state_, inode.slot);
    case kEvents:
    case kErrors:
    case kUserBeancounters:
    case kStat:
    case kAttributes:
    case kExec:
    case kHierarchies: return {0, 0, kReadOnly};
    case kWhere:
    case kExplain: return {0, 0, 0666};
    case kSet: {
      Ownership owner = attributes_ownership(state_, inode.slot);
      owner.mode = S_IWUSR;
      return owner;
    }
    default: break;
  }
  Ownership owner = attributes_ownership(state_, inode.slot);
  if (auto ref = attribute(inode); !ref || ref->attribute->prepare == nullptr)
    owner.mode = kReadOnly;
  return owner;
}

struct stat Layout::status(const Inode& inode, std::uint64_t number) const {
  struct stat st = {};
  Ownership owner = ownership(inode);
  st.st_ino = number;
  st.st_uid = owner.uid;
  st.st_gid = owner.gid;
  st.st_mode = (is_directory(inode) ? S_IFDIR : S_IFREG) | owner.mode;
  st.st_nlink = 1;
  st.st_blksize = 4096;
  if (inode.file == kDirectory) st.st_nlink = 2 + load(state_.nodes()[inode.slot].children);
  if (inode.file == kTop) {
    st.st_nlink = 2;
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      st.st_nlink += tree::hierarchy_active(state_, h);
    return st;
  }
  std::uint64_t created = inode.slot < CTN_MAX_HIER
                              ? state_.core().hierarchies[inode.slot].created_ns
                              : state_.infos()[inode.slot].created_ns;
  constexpr std::uint64_t kSecond = 1'000'000'000;
  st.st_mtim = {static_cast<time_t>(created / kSecond), static_cast<long>(created % kSecond)};
  st.st_ctim = st.st_atim = st.st_mtim;
  return st;
}

std::string Layout::path(const Inode& inode) const {
  if (inode.file == kTop) return "/";
  for (const TopFile& one : kTopFiles)
    if (one.file == inode.file) return std::string(one.name);
  std::string path = inode.slot < state_.nodes().size() ? tree::address_of(state_, inode.slot) : "";
  if (inode.file == kDirectory) return printable(path);
  std::string name;
  for (const Entry& one : files(directory(inode.slot), false))
    if (one.inode.file == inode.file) name = one.name;
  return printable(path + (path.ends_with('/') ? "" : "/") + name);
}

}  // namespace ctnbpf::containerfs
