#include "import.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>

#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

using Words = std::pair<const char*, const char*>;

constexpr std::array kControllers = {Words{"cpuset", "cpuset"}, Words{"cpuset", "memset"},
                                     Words{"cpuacct", "cpuacct"}, Words{"pids", "numtasks"}};

constexpr std::array kFiles = {Words{"cpuset.cpus", "cpuset.cpus"},
                               Words{"cpuset.mems", "memset.mems"},
                               Words{"cpuset.cpu_exclusive", "cpuset.cpu_exclusive"},
                               Words{"cpuset.mem_exclusive", "memset.mem_exclusive"},
                               Words{"cpuset.memory_migrate", "memset.memory_migrate"},
                               Words{"pids.max", "numtasks.limit"},
                               Words{"notify_on_release", "notify_on_release"},
                               Words{"release_agent", "release_agent"}};

}  // namespace

void Imported::drop(const std::string& file, std::uint32_t line, const std::string& what) {
  auto after =
      std::upper_bound(dropped.begin(), dropped.end(), line,
                       [](std::uint32_t its, const Dropped& one) { return its < one.line; });
  dropped.insert(after, {line, fmt::format("{}:{}: dropped: {}", printable(file), line, what)});
}

void Imported::complain(const std::string& file, std::uint32_t line, const std::string& what) {
  errors.push_back({EINVAL, fmt::format("{}:{}: {}", printable(file), line, what)});
}

std::vector<std::string> subsystems_for(const std::string& controller) {
  std::vector<std::string> out;
  for (const auto& [its, ours] : kControllers)
    if (controller == its) out.emplace_back(ours);
  return out;
}

std::string attribute_for(const std::string& file) {
  for (const auto& [its, ours] : kFiles)
    if (file == its) return ours;
  return "";
}

Accounts machine_accounts() {
  return {[](const std::string& name) { return ::getpwnam(name.c_str()) != nullptr; },
          [](const std::string& name) { return ::getgrnam(name.c_str()) != nullptr; }};
}

}  // namespace ctnbpf::config
