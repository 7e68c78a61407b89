#include "companion.h"

#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <filesystem>

namespace ctnbpf::cli {

std::string find_program(const std::string& name) {
  char self[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) return name;
  std::filesystem::path dir = std::filesystem::path(self).parent_path();
  for (const std::filesystem::path& one :
       {dir / name, dir / ".." / "libexec" / "ctnbpf" / name, dir / ".." / ".." / "sbin" / name})
    if (::access(one.c_str(), X_OK) == 0) return one;
  return name;
}

Result<void> become_companion(const Context& context, const std::string& program,
                              std::vector<std::string> words) {
  std::string path = find_program(program);
  words.insert(words.begin(), {program, "--bpffs=" + context.pin_root});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  return system_error(fmt::format("start '{}'", path));
}

}  // namespace ctnbpf::cli
