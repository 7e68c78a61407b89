#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "commands.h"
#include "ctnbpf/address.h"

namespace ctnbpf::layout {

Result<std::string> read_file(const std::string& name) {
  std::unique_ptr<FILE, int (*)(FILE*)> opened(
      name == "-" ? nullptr : std::fopen(name.c_str(), "re"),
      [](FILE* file) { return std::fclose(file); });
  FILE* file = name == "-" ? stdin : opened.get();
  std::string doing = fmt::format("read '{}'", printable(name));
  if (file == nullptr) return system_error(doing);
  std::string text;
  char piece[65536];
  for (std::size_t got = 0; (got = std::fread(piece, 1, sizeof(piece), file)) > 0;)
    text.append(piece, got);
  if (std::ferror(file) != 0) return system_error(doing);
  return text;
}

}  // namespace ctnbpf::layout
