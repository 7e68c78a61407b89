#include "placement/group_limits.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernel/cgroup_programs.h"
#include "ctnbpf/address.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {
namespace {

namespace fs = std::filesystem;

std::string read_all(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::string out = text.str();
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

/* memory.max, cpu.max, io.max, pids.max, hugetlb.2MB.max ...: a line each device or resource. "max", "max
 * 100000", "mlx5_0 hca_handle=max hca_object=max" limit nothing; nor does no line at all. */
bool is_max(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    bool any = false; /* "NAME=VALUE" */
    bool max = false;
    for (std::string word; words >> word;) {
      max = max || word == "max";
      if (word.find('=') == std::string::npos) continue;
      any = true;
      if (!word.ends_with("=max")) return false;
    }
    if (!any && !max) return false;
  }
  return true;
}

struct Neutral {
  std::string_view file;
  std::string_view text; /* what it says by itself */
};

constexpr std::array kNeutral = {
    Neutral{"cpu.weight", "100"},        Neutral{"cpu.idle", "0"},
    Neutral{"cpu.uclamp.min", "0.00"},   Neutral{"cpu.uclamp.max", "max"},
    Neutral{"memory.min", "0"},          Neutral{"memory.low", "0"},
    Neutral{"io.weight", "default 100"}, Neutral{"io.bfq.weight", "default 100"},
    Neutral{"io.latency", ""},           Neutral{"cpuset.cpus", ""},
    Neutral{"cpuset.mems", ""},          Neutral{"cgroup.freeze", "0"},
};

bool limits_v2(const std::string& file, const std::string& text) {
  for (const Neutral& one : kNeutral)
    if (file == one.file) return text != one.text;
  bool limit = (file.ends_with(".max") || file.ends_with(".high")) && !file.starts_with("cgroup.");
  return limit && !is_max(text);
}

/* v1 knows no inheriting: a group that limits nothing says what the root says. What else may be mounted with
 * cpuset has its files there, too. */
bool limits_v1(const std::string& root, const std::string& file, const std::string& text) {
  if (file == "cpuset.cpus" || file == "cpuset.mems") return text != read_all(root + "/" + file);
  if (file == "cpuset.cpu_exclusive" || file == "cpuset.mem_exclusive") return text == "1";
  bool limit = file.starts_with("memory.limit") || file == "cpu.cfs_quota_us" ||
               file == "cpu.shares" || file == "pids.max" || file.starts_with("blkio.throttle.");
  std::error_code error;
  return limit && fs::exists(root + "/" + file, error) && text != read_all(root + "/" + file);
}

}  // namespace

std::string limit_on(const std::string& root, const std::string& path) {
  bool v2 = fs::exists(root + "/cgroup.controllers");
  for (std::string group = path; group.size() > 1; group.erase(group.find_last_of('/'))) {
    std::vector<std::string> names; /* in order, so that the same one is named each time */
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(root + group, error))
      if (entry.is_regular_file(error)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      /* Others are many, and some take the kernel long to make up. */
      bool known = name.ends_with(".max") || name.ends_with(".high") || !v2 ||
                   std::any_of(kNeutral.begin(), kNeutral.end(),
                               [&](const Neutral& one) { return one.file == name; });
      if (!known) continue;
      std::string text = read_all(root + group + "/" + name);
      if (v2 ? limits_v2(name, text) : limits_v1(root, name, text))
        return fmt::format("{} of '{}'", name, printable(group));
    }
  }
  if (!v2 || path.size() <= 1) return {};
  UniqueFd top(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  UniqueFd own(::open((root + path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (top.valid() && own.valid() && cgroup_programs(own.get()) > cgroup_programs(top.get()))
    return fmt::format("a BPF program of '{}' or above", printable(path));
  return {};
}

}  // namespace ctnbpf
