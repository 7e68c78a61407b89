#include <fmt/format.h>

#include <algorithm>

#include "schema.h"
#include "ctnbpf/attributes.h"
#include "toml.h"

namespace ctnbpf::config {
namespace {

/* A name as a file can hold it and a terminal can show it; parse_address() gives the name back. */
std::string written(const std::string& name) {
  std::string text = portable(name);
  return harmless(text) == text ? text : printable(name);
}

/* Literal where that spares doubling backslashes: '/dev-a\x2db'. */
std::string quoted(const std::string& text) {
  if (text.find('\\') != std::string::npos && text.find('\'') == std::string::npos)
    return "'" + text + "'";
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string quoted_address(const std::string& hierarchy, const Path& path) {
  Address address{hierarchy, {}};
  for (const std::string& name : path) address.path.push_back(written(name));
  return quoted(address.to_string());
}

std::string list_of(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + quoted(text);
  return "[" + out + "]";
}

bool all_digits(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void write_container(const Hierarchy& hierarchy, const Path& path, const Container& container,
                     std::string& out) {
  out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", quoted_address(hierarchy.name, path));
  if (path.empty() && hierarchy.subsystems)
    out += fmt::format("subsystems = {}\n", list_of(*hierarchy.subsystems));
  for (const AttributeRef& attribute : settable()) {
    auto found = container.settings.find(attribute.full_name);
    if (found == container.settings.end()) continue;
    const std::string& value = found->second.value;
    out += fmt::format(
        "{} = {}\n", attribute.full_name,
        is_number(attribute) && all_digits(value) ? value : quoted(written(from_printable(value))));
  }
}

void write_rule(const Rule& rule, std::string& out) {
  out += fmt::format("{}[[rules]]\n", out.empty() ? "" : "\n");
  if (!rule.user.empty()) out += fmt::format("user = {}\n", quoted(written(rule.user)));
  if (!rule.program.empty()) out += fmt::format("program = {}\n", quoted(written(rule.program)));
  if (!rule.cgroup.empty()) out += fmt::format("cgroup = {}\n", quoted(written(rule.cgroup)));
  if (!rule.to.empty()) out += fmt::format("to = {}\n", list_of(rule.to));
  if (rule.ignore) out += "ignore = true\n";
}

}  // namespace

std::string to_toml(const Layout& layout) {
  std::string out;
  for (const Hierarchy& hierarchy : layout.hierarchies)
    for (const auto& [path, container] : hierarchy.containers)
      write_container(hierarchy, path, container, out);
  for (const Rule& rule : layout.rules) write_rule(rule, out);
  return out;
}

}  // namespace ctnbpf::config
