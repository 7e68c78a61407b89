#include "schema.h"
#include "ctnbpf/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace ctnbpf::config {
const std::vector<AttributeRef>& settable() {
  static const std::vector<AttributeRef> all = [] {
    std::vector<AttributeRef> out = core_attributes();
    for (const Subsystem* subsystem : subsystems())
      for (const Attribute& attribute : subsystem->attributes)
        out.push_back(
            {subsystem, &attribute, fmt::format("{}.{}", subsystem->name, attribute.name)});
    std::erase_if(out, [](const AttributeRef& one) { return one.attribute->prepare == nullptr; });
    return out;
  }();
  return all;
}

const AttributeRef* find_settable(const std::string& name) {
  static const auto by_name = [] {
    std::unordered_map<std::string, const AttributeRef*> out;
    for (const AttributeRef& one : settable()) out.emplace(one.full_name, &one);
    return out;
  }();
  auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

Result<void> check_on(const AttributeRef& attribute, bool root, const std::string& address) {
  if (attribute.attribute->on == On::kRoot && !root)
    return Error{EPERM, fmt::format("{} belongs to the hierarchy: set it on {}:/",
                                    attribute.full_name, address.substr(0, address.find(":/")))};
  if (attribute.attribute->on == On::kContainer && root)
    return Error{EPERM, fmt::format("{} is a root and has no {}: set it on a container below",
                                    address, attribute.full_name)};
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> normal_form(const AttributeRef& attribute,
                                                                     const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  if (attribute.attribute->normal == nullptr) {
    out.emplace_back(attribute.full_name, text);
    return out;
  }
  CTN_ASSIGN(NormalForm normal, attribute.attribute->normal(text));
  std::string owner =
      attribute.subsystem == nullptr ? "" : std::string(attribute.subsystem->name) + ".";
  for (auto& [name, value] : normal) out.emplace_back(owner + name, std::move(value));
  return out;
}

bool is_inherited(const AttributeRef& attribute) {
  return attribute.full_name == "notify_on_release";
}

bool is_number(const AttributeRef& attribute) {
  std::string_view initial = attribute.attribute->initial;
  return initial == "max" ||
         (!initial.empty() && initial.find_first_not_of("0123456789") == std::string_view::npos);
}

std::string value_of(const Container* container, const AttributeRef& attribute) {
  if (container != nullptr)
    if (auto found = container->settings.find(attribute.full_name);
        found != container->settings.end())
      return found->second.value;
  return attribute.attribute->initial;
}

bool is_worth_saying(const AttributeRef& attribute, const std::string& value,
                     const Container* parent) {
  if (value != attribute.attribute->initial) return true;
  return is_inherited(attribute) && parent != nullptr && value_of(parent, attribute) != value;
}

}  // namespace ctnbpf::config
