#include "resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "ctnbpf/attributes.h"
#include "schema.h"
#include "ctnbpf/nearest.h"

namespace ctnbpf::config {
namespace {

class Resolver {
 public:
  Resolver(const std::vector<Document>& files, const Layout& machine)
      : files_(files), machine_(machine) {}

  Resolved resolve() {
    each_table([this](const Table& table) {
      if (table.subsystems) add_hierarchy(table);
    });
    check_subsystems();
    each_table([this](const Table& table) { add_container(table); });
    for (const Document& file : files_)
      out_.layout.rules.insert(out_.layout.rules.end(), file.rules.begin(), file.rules.end());
    std::erase_if(out_.layout.hierarchies,
                  [](const Hierarchy& one) { return one.containers.empty(); });
    return std::move(out_);
  }

 private:
  void complain(const Where& where, const Error& error) { out_.errors.push_back(at(where, error)); }
  void complain(const Where& where, const std::string& what) { complain(where, {EINVAL, what}); }

  void each_table(const std::function<void(const Table&)>& one) const {
    for (const Document& file : files_)
      for (const Table& table : file.tables) one(table);
  }

  /* A hierarchy that a file tells the subsystems of. */
  void add_hierarchy(const Table& table) {
    const std::string& name = table.address.hierarchy;
    if (auto ok = check_hierarchy_name(name); !ok) {
      complain(table.where, ok.error());
      return;
    }
    std::vector<std::string> sorted;
    for (const std::string& one : *table.subsystems)
      if (find_subsystem(one) == nullptr)
        complain(table.subsystems_where,
                 fmt::format("unknown subsystem '{}':{} `ctnbpf subsystems` lists them",
                             printable(one), did_you_mean(one, subsystem_names())));
    for (const Subsystem* subsystem : subsystems())
      if (std::count(table.subsystems->begin(), table.subsystems->end(), subsystem->name) != 0)
        sorted.emplace_back(subsystem->name);
    if (Hierarchy* other = out_.layout.find(name); other != nullptr) {
      if (other->subsystems != sorted)
        complain(table.subsystems_where,
                 fmt::format("hierarchy '{}' has other subsystems at {}: take one of the two out",
                             name, other->where.to_string()));
      return;
    }
    out_.layout.hierarchies.push_back({name, sorted, {}, table.subsystems_where});
  }

  void check_subsystems() {
    std::map<std::string, const Hierarchy*> owners;
    for (const Hierarchy& hierarchy : out_.layout.hierarchies)
      for (const std::string& one : *hierarchy.subsystems)
        if (auto [other, fresh] = owners.emplace(one, &hierarchy); !fresh)
          complain(
              hierarchy.where,
              fmt::format("subsystem '{}' is bound to hierarchy '{}' at {}: it can be bound to "
                          "one only",
                          one, other->second->name, other->second->where.to_string()));
  }

  static bool binds(const Hierarchy& hierarchy, const std::string& subsystem) {
    return hierarchy.subsystems &&
           std::count(hierarchy.subsystems->begin(), hierarchy.subsystems->end(), subsystem) != 0;
  }

  static const Hierarchy* meant(const Layout& layout, const std::string& name) {
    if (const Hierarchy* own = layout.find(name)) return own;
    for (const Hierarchy& one : layout.hierarchies)
      if (binds(one, name)) return &one;
    return nullptr;
  }

  /* The hierarchy of an address: its own name first, or that of a subsystem bound to it; those of the files
   * before those of the machine. Null: there is none. */
  Hierarchy* hierarchy_of(const std::string& name) {
    if (const Hierarchy* own = meant(out_.layout, name)) return out_.layout.find(own->name);
    const Hierarchy* there = meant(machine_, name);
    if (there == nullptr && name != kDefault) return nullptr;
    std::string its = there == nullptr ? name : there->name;
    if (Hierarchy* own = out_.layout.find(its)) return own;
    out_.layout.hierarchies.push_back({its, std::nullopt, {}, {}});
    return &out_.layout.hierarchies.back();
  }

  const std::vector<std::string>* subsystems_of(const Hierarchy& hierarchy) const {
    if (hierarchy.subsystems) return &*hierarchy.subsystems;
    const Hierarchy* there = machine_.find(hierarchy.name);
    return there != nullptr && there->subsystems ? &*there->subsystems : nullptr;
  }

  std::vector<std::string> hierarchy_names() const {
    std::vector<std::string> out;
    for (const Layout* layout : {&std::as_const(out_.layout), &machine_})
      for (const Hierarchy& one : layout->hierarchies) out.push_back(one.name);
    return out;
  }

  void add_container(const Table& table) {
    const std::string& name = table.address.hierarchy;
    Hierarchy* hierarchy = hierarchy_of(name);
    if (hierarchy == nullptr) {
      if (check_hierarchy_name(name) || !table.subsystems)
        complain(
            table.where,
            fmt::format("no hierarchy '{0}':{1} [\"{0}:/\"] with `subsystems = [...]` makes it",
                        printable(name), did_you_mean(name, hierarchy_names())));
      return;
    }
    if (table.address.path.size() > CTN_MAX_DEPTH) {
      complain(table.where, Error{E2BIG, fmt::format("containers nest at most {} deep "
                                                     "(CTN_MAX_DEPTH)",
                                                     CTN_MAX_DEPTH)});
      return;
    }
    if (hierarchy->where.file.empty()) hierarchy->where = table.where;
    Container& container = container_at(*hierarchy, table.address.path, table.where);
    for (const Entry& entry : table.entries) add_setting(*hierarchy, table, container, entry);
  }

  void add_setting(const Hierarchy& hierarchy, const Table& table, Container& container,
                   const Entry& entry) {
    const AttributeRef* attribute = find_settable(entry.key);
    if (attribute == nullptr) {
      complain_of_key(hierarchy, entry);
      return;
    }
    const std::vector<std::string>* bound = subsystems_of(hierarchy);
    if (attribute->subsystem != nullptr && bound != nullptr &&
        std::count(bound->begin(), bound->end(), attribute->subsystem->name) == 0) {
      complain(entry.where,
               Error{ENOENT, fmt::format("attribute '{}': subsystem '{}' is not bound to hierarchy "
                                         "'{}'",
                                         entry.key, attribute->subsystem->name, hierarchy.name)});
      return;
    }
    const Path& path = table.address.path;
    if (auto ok = check_on(*attribute, path.empty(), address_of(hierarchy.name, path)); !ok) {
      complain(entry.where, ok.error());
      return;
    }
    auto normal = normal_form(*attribute, entry.text);
    if (!normal) {
      complain(entry.where, normal.error());
      return;
    }
    for (auto& [name, value] : *normal) {
      auto [other, fresh] = container.settings.try_emplace(name, Setting{value, entry.where});
      if (!fresh && other->second.value != value)
        complain(entry.where,
                 fmt::format("{} of {} is '{}' here and '{}' at {}: take one of the two out", name,
                             address_of(hierarchy.name, path), printable(value),
                             printable(other->second.value), other->second.where.to_string()));
    }
  }

  void complain_of_key(const Hierarchy& hierarchy, const Entry& entry) {
    for (const AttributeRef& one : core_attributes())
      if (one.full_name == entry.key) return complain_read_only(entry);
    std::vector<std::string> names;
    const std::vector<std::string>* bound = subsystems_of(hierarchy);
    for (const AttributeRef& one : settable())
      if (one.subsystem == nullptr || bound == nullptr ||
          std::count(bound->begin(), bound->end(), one.subsystem->name) != 0)
        names.push_back(one.full_name);
    for (const Subsystem* subsystem : subsystems())
      for (const Attribute& one : subsystem->attributes)
        if (entry.key == fmt::format("{}.{}", subsystem->name, one.name))
          return complain_read_only(entry);
    names.emplace_back("subsystems");
    complain(entry.where,
             Error{ENOENT, fmt::format("unknown key '{}':{} `ctnbpf subsystems --attributes` lists "
                                       "them",
                                       printable(entry.key), did_you_mean(entry.key, names))});
  }

  void complain_read_only(const Entry& entry) {
    complain(entry.where,
             Error{EACCES, fmt::format("attribute '{}' is read-only: take it out", entry.key)});
  }

  const std::vector<Document>& files_;
  const Layout& machine_;
  Resolved out_;
};

}  // namespace

Resolved resolve(const std::vector<Document>& files, const Layout& machine) {
  return Resolver(files, machine).resolve();
}

}  // namespace ctnbpf::config
