#include "kernel_machine.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "schema.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::config {
namespace {

Result<std::string> text_of(const State& state, Slot slot, const AttributeRef& attribute) {
  auto read =
      attribute.attribute->own != nullptr ? attribute.attribute->own : attribute.attribute->read;
  CTN_ASSIGN(Value value, read(state, slot));
  return portable(to_string(value));
}

bool is_root(Slot slot) { return slot < CTN_MAX_HIER; }

std::vector<const AttributeRef*> shown_of(const std::vector<const Subsystem*>& bound, bool root) {
  std::vector<const AttributeRef*> out;
  for (const AttributeRef& one : settable()) {
    bool there = one.subsystem == nullptr ||
                 std::find(bound.begin(), bound.end(), one.subsystem) != bound.end();
    if (there && !one.attribute->shorthand &&
        one.attribute->on != (root ? On::kContainer : On::kRoot))
      out.push_back(&one);
  }
  return out;
}

Result<Container> read_container(const State& state, Slot slot, const Container* parent,
                                 const std::vector<const AttributeRef*>& attributes) {
  Container out;
  const ctn_node& node = state.nodes()[slot];
  out.users = std::uint64_t{live_tasks(node)} + load(node.refs);
  for (const AttributeRef* attribute : attributes) {
    CTN_ASSIGN(std::string value, text_of(state, slot, *attribute));
    if (is_worth_saying(*attribute, value, parent))
      out.settings.emplace(attribute->full_name, Setting{std::move(value)});
  }
  return out;
}

Result<Hierarchy> read_hierarchy(const State& state, std::uint32_t root) {
  Hierarchy out{tree::hierarchy_name(state, root), std::vector<std::string>(), {}, {}};
  std::vector<const Subsystem*> bound = bound_subsystems(state, root);
  for (const Subsystem* one : bound) out.subsystems->emplace_back(one->name);
  std::vector<const AttributeRef*> of_root = shown_of(bound, true);
  std::vector<const AttributeRef*> of_container = shown_of(bound, false);
  std::map<Slot, std::pair<Path, const Container*>> seen;
  for (Slot slot : tree::subtree(state, root, tree::Order::kAny)) {
    Path path;
    const Container* parent = nullptr;
    if (!is_root(slot)) {
      if ((load(state.nodes()[slot].flags) & CTN_TRANSIENT) != 0) continue;
      auto above = seen.find(state.nodes()[slot].parent);
      if (above == seen.end()) continue; /* below such a one */
      path = above->second.first;
      parent = above->second.second;
      path.push_back(tree::name_of(state, slot));
    }
    CTN_ASSIGN(Container one,
               read_container(state, slot, parent, is_root(slot) ? of_root : of_container));
    auto kept = out.containers.emplace(path, std::move(one)).first;
    seen.emplace(slot, std::pair(std::move(path), &kept->second));
  }
  return out;
}

}  // namespace

Result<Layout> read_layout(const State& state) {
  Layout out;
  for (std::uint32_t root = 0; root < CTN_MAX_HIER; root++) {
    if (!tree::hierarchy_active(state, root)) continue;
    CTN_ASSIGN(Hierarchy one, read_hierarchy(state, root));
    out.hierarchies.push_back(std::move(one));
  }
  return out;
}

std::vector<std::string> KernelView::default_subsystems() {
  std::vector<std::string> out;
  for (const Subsystem* subsystem : subsystems())
    if (level_of(*subsystem, state_.core().level) != CTN_LEVEL_NONE)
      out.emplace_back(subsystem->name);
  return out;
}

Result<void> KernelView::check_promise(const AttributeRef& attribute) {
  if (attribute.subsystem == nullptr) return {};
  std::uint32_t level = level_of(*attribute.subsystem, state_.core().level);
  if (level >= attribute.attribute->needs) return {};
  return Error{ENOTSUP, fmt::format("{} cannot be enforced on this kernel (level {})",
                                    attribute.full_name, level_name(level))};
}

Result<void> KernelView::check_room(std::size_t hierarchies, std::size_t containers) {
  std::size_t active = 0;
  for (std::uint32_t root = 0; root < CTN_MAX_HIER; root++)
    active += tree::hierarchy_active(state_, root) ? 1 : 0;
  if (active + hierarchies > CTN_MAX_HIER)
    return Error{ENOSPC, fmt::format("it makes {} hierarchies more, and there is room for {} "
                                     "(CTN_MAX_HIER)",
                                     hierarchies, CTN_MAX_HIER - active)};
  const ctn_core& core = state_.core();
  std::size_t taken = std::size_t{core.containers} + core.lingering;
  std::size_t room = core.max_containers - std::min<std::size_t>(taken, core.max_containers);
  if (containers > room)
    return Error{ENOSPC, fmt::format("it makes {} containers more, and there is room for {}: "
                                     "`ctnbpf up --max-containers` gives more, after `ctnbpf down`",
                                     containers, room)};
  return {};
}

Result<void> KernelMachine::make_hierarchy(const std::string& name,
                                           const std::vector<std::string>& subsystems) {
  CTN_TRY(tree::create_hierarchy(writer_, name, subsystems));
  return {};
}

Result<void> KernelMachine::unmake_hierarchy(const std::string& name) {
  return tree::destroy_hierarchy(writer_, tree::hierarchy_named(writer_, name));
}

Result<void> KernelMachine::make(const std::string& hierarchy, const Path& path) {
  Address parent{hierarchy, {path.begin(), path.end() - 1}};
  CTN_ASSIGN(Slot above, tree::find(writer_, parent));
  CTN_TRY(tree::create(writer_, above, path.back()));
  return {};
}

Result<void> KernelMachine::unmake(const std::string& hierarchy, const Path& path) {
  CTN_ASSIGN(Slot slot, tree::find(writer_, Address{hierarchy, path}));
  tree::unmake(writer_, slot);
  return {};
}

Result<std::string> KernelMachine::get(const std::string& hierarchy, const Path& path,
                                       const AttributeRef& attribute) {
  CTN_ASSIGN(Slot slot, tree::find(writer_, Address{hierarchy, path}));
  return text_of(writer_, slot, attribute);
}

Result<void> KernelMachine::set(const std::string& hierarchy, const Path& path,
                                const AttributeRef& attribute, const std::string& value) {
  CTN_ASSIGN(Slot slot, tree::find(writer_, Address{hierarchy, path}));
  /* Whether it can be promised was asked before anything was changed. */
  return set_attributes(writer_, slot, {attribute.full_name + "=" + value}, true);
}

Result<void> KernelMachine::remove(const std::string& hierarchy, const Path& path) {
  CTN_ASSIGN(Slot slot, tree::find(writer_, Address{hierarchy, path}));
  return tree::remove(writer_, slot, false);
}

}  // namespace ctnbpf::config
