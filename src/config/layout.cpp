#include "layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/address.h"

namespace ctnbpf::config {

std::string Where::to_string() const {
  return line == 0 ? printable(file) : fmt::format("{}:{}:{}", printable(file), line, column);
}

Error at(const Where& where, const Error& error) {
  return where.file.empty() ? error : error.within(where.to_string());
}

const Hierarchy* Layout::find(const std::string& name) const {
  auto found = std::find_if(hierarchies.begin(), hierarchies.end(),
                            [&](const Hierarchy& one) { return one.name == name; });
  return found == hierarchies.end() ? nullptr : &*found;
}

Hierarchy* Layout::find(const std::string& name) {
  return const_cast<Hierarchy*>(std::as_const(*this).find(name));
}

std::string address_of(const std::string& hierarchy, const Path& path) {
  return printable(Address{hierarchy, path}.to_string());
}

Container& container_at(Hierarchy& hierarchy, const Path& path, const Where& where) {
  for (std::size_t length = 0; length < path.size(); length++)
    hierarchy.containers.try_emplace(
        Path(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(length)),
        Container{.where = where});
  return hierarchy.containers.try_emplace(path, Container{.where = where}).first->second;
}

}  // namespace ctnbpf::config
