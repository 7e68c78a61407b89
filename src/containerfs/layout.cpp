#include "layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "ctnbpf/attributes.h"
#include "ctnbpf/address.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::containerfs {
namespace {

constexpr mode_t kReadOnly = 0444;
constexpr const char* kCount = "tasks"; /* the core's attribute, a number; here that is a list */

struct CpusetName {
  const char* name;
  const char* attribute;
};
constexpr std::array kCpusetNames = {
    CpusetName{"cpus", "cpuset.cpus"},
    CpusetName{"mems", "memset.mems"},
    CpusetName{"cpu_exclusive", "cpuset.cpu_exclusive"},
    CpusetName{"mem_exclusive", "memset.mem_exclusive"},
    CpusetName{"memory_migrate", "memset.memory_migrate"},
    CpusetName{"notify_on_release", "notify_on_release"},
};

/* The number of an attribute's file, on any container. */
std::uint32_t file_of(const AttributeRef& ref) {
  if (ref.subsystem != nullptr) {
    auto index = static_cast<std::uint32_t>(ref.attribute - ref.subsystem->attributes.data());
    return kSubsystems + ref.subsystem->id * kAttributesEach + index;
  }
  std::vector<AttributeRef> core = core_attributes();
  auto found = std::find_if(core.begin(), core.end(), [&](const AttributeRef& one) {
    return one.attribute == ref.attribute;
  });
  return kCore + static_cast<std::uint32_t>(found - core.begin());
}

/* The core's: those of subsystems can be read everywhere. */
bool belongs_to_roots(const AttributeRef& ref) {
  return ref.subsystem == nullptr && ref.attribute->on == On::kRoot;
}

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
  if (inode.file == kTop || inode.file == kErrors || inode.file == kUserBeancounters) return true;
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

void Layout::add_cpuset_attributes(Slot slot, std::vector<Entry>& to) const {
  std::vector<AttributeRef> all = attributes_of(state_, slot);
  for (const CpusetName& one : kCpusetNames)
    for (const AttributeRef& ref : all)
      if (ref.full_name == one.attribute) to.push_back({one.name, of(file_of(ref), slot)});
}

/* Without prefixes, a name that two would have keeps its own. */
void Layout::add_attributes(Slot slot, std::vector<Entry>& to) const {
  std::set<std::string> taken;
  for (const Entry& one : to) taken.insert(one.name);
  for (const AttributeRef& ref : attributes_of(state_, slot)) {
    if (ref.subsystem == nullptr && ref.full_name == kCount) continue;
    if (belongs_to_roots(ref) && slot >= CTN_MAX_HIER) continue;
    std::string name = style_.prefix ? ref.full_name : ref.attribute->name;
    if (!taken.insert(name).second) name = ref.full_name;
    to.push_back({name, of(file_of(ref), slot)});
  }
}

std::vector<Entry> Layout::files(const Inode& dir, bool top) const {
  std::vector<Entry> found;
  if (dir.file == kDirectory) {
    found.push_back({"tasks", of(kTasks, dir.slot)});
    if (!style_.cpuset) {
      found.push_back({"procs", of(kProcs, dir.slot)});
      found.push_back({"events", of(kEvents, dir.slot)});
      add_attributes(dir.slot, found);
    } else {
      add_cpuset_attributes(dir.slot, found);
    }
  }
  if (top) {
    found.push_back({".errors", {kErrors, 0, 0}});
    if (!style_.cpuset) found.push_back({"user_beancounters", {kUserBeancounters, 0, 0}});
  }
  return found;
}

std::vector<Entry> Layout::list(const Inode& dir, bool top) const {
  std::vector<Entry> found = files(dir, top);
  std::set<std::string> taken; /* a container may have been given the name of a file elsewhere */
  for (const Entry& one : found) taken.insert(one.name);
  if (dir.file == kTop) {
    for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
      if (tree::hierarchy_active(state_, h))
        found.push_back({tree::hierarchy_name(state_, h), directory(h)});
    return found;
  }
  for (Slot child : children(dir.slot))
    if (std::string name = tree::name_of(state_, child); !taken.contains(name))
      found.push_back({name, directory(child)});
  return found;
}

std::optional<Inode> Layout::find(const Inode& dir, bool top, std::string_view name) const {
  for (const Entry& one : files(dir, top))
    if (one.name == name) return one.inode;
  if (dir.file == kTop) {
    std::uint32_t h = tree::hierarchy_named(state_, name);
    return h < CTN_MAX_HIER ? std::optional(directory(h)) : std::nullopt;
  }
  Slot child = tree::find_child(state_, dir.slot, name);
  return child != 0 ? std::optional(directory(child)) : std::nullopt;
}

std::optional<AttributeRef> Layout::attribute(const Inode& inode) {
  if (inode.file >= kSubsystems) {
    std::uint32_t id = (inode.file - kSubsystems) / kAttributesEach;
    std::uint32_t index = (inode.file - kSubsystems) % kAttributesEach;
    for (const Subsystem* one : subsystems())
      if (one->id == id && index < one->attributes.size()) {
        const Attribute& found = one->attributes[index];
        return AttributeRef{one, &found, fmt::format("{}.{}", one->name, found.name)};
      }
  } else if (inode.file >= kCore) {
    std::vector<AttributeRef> core = core_attributes();
    if (inode.file - kCore < core.size()) return core[inode.file - kCore];
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
    case kUserBeancounters: return {0, 0, kReadOnly};
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
  if (inode.file == kErrors) return ".errors";
  if (inode.file == kUserBeancounters) return "user_beancounters";
  std::string path = inode.slot < state_.nodes().size() ? tree::address_of(state_, inode.slot) : "";
  if (inode.file == kDirectory) return printable(path);
  std::string name;
  for (const Entry& one : files(directory(inode.slot), false))
    if (one.inode.file == inode.file) name = one.name;
  return printable(path + (path.ends_with('/') ? "" : "/") + name);
}

}  // namespace ctnbpf::containerfs
