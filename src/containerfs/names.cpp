#include "names.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "ctnbpf/attributes.h"
#include "ctnbpf/subsystem.h"
#include "inode.h"
#include "layout.h"

namespace ctnbpf::containerfs {
namespace {

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

struct Named {
  std::string full;
  const char* own;
  std::uint32_t file;
};

/* The attributes of a container of a hierarchy with these subsystems (a bit for each), core ones first. */
std::vector<Named> attributes(std::uint32_t bound, bool root) {
  std::vector<Named> found;
  std::uint32_t number = kCore;
  for (const AttributeRef& ref : core_attributes()) {
    bool shown = ref.full_name != kCount && (root || ref.attribute->on != On::kRoot);
    if (shown) found.push_back({ref.full_name, ref.attribute->name, number});
    number++;
  }
  for (const Subsystem* subsystem : subsystems()) {
    if ((bound & 1U << subsystem->id) == 0) continue;
    number = kSubsystems + subsystem->id * kAttributesEach;
    for (const Attribute& one : subsystem->attributes)
      found.push_back({fmt::format("{}.{}", subsystem->name, one.name), one.name, number++});
  }
  return found;
}

}  // namespace

void FileNames::add(std::string name, std::uint32_t file) {
  by_name_.emplace(name, file);
  all_.push_back({std::move(name), file});
}

void FileNames::add_cpuset(std::uint32_t bound) {
  std::vector<Named> all = attributes(bound, false);
  for (const CpusetName& one : kCpusetNames)
    for (const Named& attribute : all)
      if (attribute.full == one.attribute) add(one.name, attribute.file);
}

/* Without prefixes, a name that two would have keeps its own. */
void FileNames::add_attributes(std::uint32_t bound, bool root, bool prefix) {
  for (const Named& one : attributes(bound, root)) {
    std::string name = prefix ? one.full : one.own;
    add(by_name_.contains(name) ? one.full : name, one.file);
  }
}

FileNames::FileNames(const Style& style, std::uint32_t bound, bool root) {
  add("tasks", kTasks);
  if (style.cpuset) {
    add_cpuset(bound);
    return;
  }
  add("procs", kProcs);
  add("events", kEvents);
  add_attributes(bound, root, style.prefix);
  add(".stat", kStat);
  add(".attributes", kAttributes);
  add(".set", kSet);
  add(".exec", kExec);
}

std::uint32_t FileNames::find(std::string_view name) const {
  auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? 0 : found->second;
}

const FileNames& FileNames::of(const Style& style, const State& state, Slot slot) {
  struct Kind {
    std::uint32_t bound;
    bool root;
    bool prefix;
    bool cpuset;
    auto operator<=>(const Kind&) const = default;
  };
  static std::mutex mutex;
  static std::map<Kind, std::unique_ptr<const FileNames>> made;
  Kind kind = {0, slot < CTN_MAX_HIER, style.prefix, style.cpuset};
  const std::uint32_t hierarchy = state.nodes()[slot].hierarchy;
  for (std::uint32_t id = 0; id < CTN_MAX_SUBSYS; id++)
    if (load(state.core().bound[id]) == hierarchy + 1) kind.bound |= 1U << id;
  std::lock_guard lock(mutex);
  std::unique_ptr<const FileNames>& names = made[kind];
  if (!names) names.reset(new FileNames(style, kind.bound, kind.root));
  return *names;
}

}  // namespace ctnbpf::containerfs
