#include "memory_machine.h"

#include <algorithm>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "config/schema.h"
#include "placement/index_set.h"
#include "shares/shares.h"

namespace ctnbpf::test {

using config::Container;
using config::Hierarchy;
using config::Path;

namespace {

constexpr std::size_t kMostHierarchies = 8;

Path parent_of(const Path& path) { return {path.begin(), path.end() - 1}; }

IndexSet set_of(const std::string& text) {
  auto set = parse_index_set("cpus", text, 4096);
  return set ? *set : IndexSet();
}

ctn_shares shares_of(const std::string& text) {
  auto parsed = shares::parse("shares", text,
                              {CTN_DONT_CARE, CTN_DONT_CARE, CTN_SHARES_DIVISOR, 0, CTN_DONT_CARE});
  return parsed ? *parsed : ctn_shares{};
}

std::string value(const Container& container, const char* attribute) {
  return config::value_of(&container, *config::find_settable(attribute));
}

bool is_child(const Path& path, const Path& parent) {
  return path.size() == parent.size() + 1 && std::equal(parent.begin(), parent.end(), path.begin());
}

/* What it may take: its own, or that of the nearest above that has one. */
std::optional<IndexSet> cpus_of(const Hierarchy& in, Path path) {
  for (; !path.empty(); path.pop_back())
    if (std::string own = value(in.containers.at(path), "cpuset.cpus"); !own.empty())
      return set_of(own);
  return std::nullopt;
}

}  // namespace

Result<config::Layout> MemoryMachine::read() {
  config::Layout out = layout_;
  std::erase_if(out.hierarchies, [](const Hierarchy& one) { return one.name.empty(); });
  for (Hierarchy& hierarchy : out.hierarchies) {
    for (auto& [path, container] : hierarchy.containers)
      container.settings.try_emplace("notify_on_release", config::Setting{"0"});
    std::map<Path, Container> whole = hierarchy.containers;
    for (auto& [path, container] : hierarchy.containers) {
      const Container* parent = path.empty() ? nullptr : &whole.at(parent_of(path));
      std::erase_if(container.settings, [&](const auto& one) {
        return !config::is_worth_saying(*config::find_settable(one.first), one.second.value,
                                        parent);
      });
    }
  }
  return out;
}

std::vector<std::string> MemoryMachine::default_subsystems() { return subsystem_names(); }

Result<void> MemoryMachine::check_promise(const AttributeRef& attribute) {
  if (accounting_only && attribute.attribute->needs != CTN_LEVEL_NONE)
    return Error{ENOTSUP, attribute.full_name + " cannot be enforced"};
  return {};
}

Result<void> MemoryMachine::check_room(std::size_t hierarchies, std::size_t) {
  std::size_t active = 0;
  for (const Hierarchy& one : layout_.hierarchies) active += one.name.empty() ? 0 : 1;
  if (active + hierarchies > kMostHierarchies) return Error{ENOSPC, "no room for hierarchies"};
  return {};
}

Result<void> MemoryMachine::refusal() {
  changes_++;
  if (left_ && (*left_)-- == 0) {
    left_.reset();
    return Error{EIO, "refused by the test"};
  }
  return {};
}

/* In the first free place, as the real one. */
Result<void> MemoryMachine::make_hierarchy(const std::string& name,
                                           const std::vector<std::string>& subsystems) {
  CTN_TRY(refusal());
  if (layout_.find(name) != nullptr) return Error{EEXIST, name + " exists already"};
  for (const Hierarchy& one : layout_.hierarchies)
    for (const std::string& its : subsystems)
      if (!one.name.empty() && std::count(one.subsystems->begin(), one.subsystems->end(), its) != 0)
        return Error{EBUSY, its + " is bound"};
  Hierarchy made{name, subsystems, {}, {}};
  made.containers.emplace(Path(), Container{});
  auto free = std::find_if(layout_.hierarchies.begin(), layout_.hierarchies.end(),
                           [](const Hierarchy& one) { return one.name.empty(); });
  if (free != layout_.hierarchies.end())
    *free = std::move(made);
  else if (layout_.hierarchies.size() == kMostHierarchies)
    return Error{ENOSPC, "no room"};
  else
    layout_.hierarchies.push_back(std::move(made));
  return {};
}

Result<void> MemoryMachine::unmake_hierarchy(const std::string& name) {
  Hierarchy* hierarchy = layout_.find(name);
  if (hierarchy == nullptr) return Error{ENOENT, "no hierarchy " + name};
  if (hierarchy->containers.size() != 1) return Error{EBUSY, name + " has containers"};
  *hierarchy = {};
  return {};
}

Container* MemoryMachine::find(const std::string& hierarchy, const Path& path) {
  Hierarchy* in = layout_.find(hierarchy);
  if (in == nullptr) return nullptr;
  auto found = in->containers.find(path);
  return found == in->containers.end() ? nullptr : &found->second;
}

Result<void> MemoryMachine::make(const std::string& hierarchy, const Path& path) {
  CTN_TRY(refusal());
  Container* parent = path.empty() ? nullptr : find(hierarchy, parent_of(path));
  if (parent == nullptr) return Error{ENOENT, "no parent"};
  if (find(hierarchy, path) != nullptr) return Error{EEXIST, "exists already"};
  Container made;
  if (auto notify = parent->settings.find("notify_on_release"); notify != parent->settings.end())
    made.settings.insert(*notify);
  layout_.find(hierarchy)->containers.emplace(path, std::move(made));
  return {};
}

Result<void> MemoryMachine::unmake(const std::string& hierarchy, const Path& path) {
  Hierarchy* in = layout_.find(hierarchy);
  if (in == nullptr || path.empty()) return Error{ENOENT, "is not there"};
  for (const auto& [other, its] : in->containers)
    if (is_child(other, path)) return Error{EBUSY, "has containers below"};
  return in->containers.erase(path) != 0 ? Result<void>() : Error{ENOENT, "is not there"};
}

Result<void> MemoryMachine::remove(const std::string& hierarchy, const Path& path) {
  Container* container = find(hierarchy, path);
  if (container == nullptr) return Error{ENOENT, "is not there"};
  if (container->users != 0)
    return Error{EBUSY, config::address_of(hierarchy, path) + " is in use"};
  return unmake(hierarchy, path);
}

Result<std::string> MemoryMachine::get(const std::string& hierarchy, const Path& path,
                                       const AttributeRef& attribute) {
  Container* container = find(hierarchy, path);
  if (container == nullptr) return Error{ENOENT, "is not there"};
  return config::value_of(container, attribute);
}

Result<void> MemoryMachine::check_cpus(const Hierarchy& in, const Path& path,
                                       const std::string& cpus) {
  std::optional<IndexSet> above = cpus_of(in, parent_of(path));
  std::optional<IndexSet> next = cpus.empty() ? above : set_of(cpus);
  if (next && above && !next->within(*above)) return Error{EACCES, "above it has fewer CPUs"};
  for (const auto& [other, container] : in.containers) {
    bool below = other.size() > path.size() && std::equal(path.begin(), path.end(), other.begin());
    std::string own = value(container, "cpuset.cpus");
    if (below && next && !own.empty() && !set_of(own).within(*next))
      return Error{EBUSY, "below it has more CPUs"};
  }
  return {};
}

Result<void> MemoryMachine::check_shares(const Hierarchy& in, const Path& path,
                                         const std::string& text) {
  auto min_of = [](const ctn_shares& one) { return one.min == CTN_DONT_CARE ? 0 : one.min; };
  ctn_shares wanted = shares_of(text);
  std::uint64_t children = 0;
  std::uint64_t siblings = 0;
  for (const auto& [other, container] : in.containers) {
    ctn_shares its = shares_of(value(container, "numtasks.shares"));
    if (is_child(other, path)) children += min_of(its);
    if (!path.empty() && other != path && is_child(other, parent_of(path))) siblings += min_of(its);
    if (is_child(other, path) && its.max != CTN_DONT_CARE && its.max > wanted.divisor)
      return Error{EINVAL, "a child has more max_shares"};
  }
  if (children > wanted.divisor) return Error{EINVAL, "the children have more min_shares"};
  if (path.empty())
    return wanted.min == CTN_DONT_CARE && wanted.max == CTN_DONT_CARE
               ? Result<void>()
               : Error{EPERM, "a root has no shares"};
  ctn_shares parent = shares_of(value(in.containers.at(parent_of(path)), "numtasks.shares"));
  if (wanted.min != CTN_DONT_CARE && wanted.min > wanted.max) return Error{EINVAL, "min > max"};
  if (wanted.max != CTN_DONT_CARE && wanted.max > parent.divisor) return Error{EINVAL, "max"};
  if (siblings + min_of(wanted) > parent.divisor)
    return Error{EINVAL, "the siblings have the rest"};
  return {};
}

Result<void> MemoryMachine::set(const std::string& hierarchy, const Path& path,
                                const AttributeRef& attribute, const std::string& text) {
  CTN_TRY(refusal());
  Container* container = find(hierarchy, path);
  if (container == nullptr) return Error{ENOENT, "is not there"};
  const Hierarchy& in = *layout_.find(hierarchy);
  const std::string& name = attribute.full_name;
  if (attribute.subsystem != nullptr &&
      std::count(in.subsystems->begin(), in.subsystems->end(), attribute.subsystem->name) == 0)
    return Error{ENOENT, name + " is not bound here"};
  CTN_TRY(config::check_on(attribute, path.empty(), config::address_of(hierarchy, path)));
  CTN_ASSIGN(auto normal, config::normal_form(attribute, text));
  if (name == "cpuset.cpus") CTN_TRY(check_cpus(in, path, text));
  if (name == "numtasks.shares") CTN_TRY(check_shares(in, path, text));
  if (name.ends_with(".placement") && in.containers.size() > 1)
    return Error{EBUSY, "there are containers"};
  auto number = [](const std::string& one) {
    return one == "max" ? ~0ULL : std::strtoull(one.c_str(), nullptr, 10);
  };
  if (name == "numfiles.barrier" && number(text) > number(value(*container, "numfiles.limit")))
    return Error{EINVAL, "above the limit"};
  if (name == "numfiles.limit" && number(text) < number(value(*container, "numfiles.barrier")))
    return Error{EINVAL, "below the barrier"};
  for (auto& [its, value] : normal) container->settings[its] = {value};
  return {};
}

}  // namespace ctnbpf::test
