#include "placement/groups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace ctnbpf {
namespace {

namespace fs = std::filesystem;

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool has_word(const std::string& line, const std::string& word) {
  std::istringstream words(line);
  for (std::string one; words >> one;)
    if (one == word) return true;
  return false;
}

Result<void> write_file(const std::string& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return system_error(fmt::format("open '{}'", path));
  ssize_t done = ::write(fd, text.c_str(), text.size());
  int error = errno;
  ::close(fd);
  if (done < 0) return system_error(error, fmt::format("write '{}' to '{}'", text, path));
  return {};
}

/* Where a cgroup file system is mounted: v2, or v1 with the cpuset controller. */
std::string mounted(Groups::Version version) {
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    /* id parent major:minor root mountpoint options... - type source super-options */
    std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash));
    std::istringstream right(line.substr(dash + 3));
    std::string skip;
    std::string root;
    std::string point;
    left >> skip >> skip >> skip >> root >> point;
    std::string type;
    std::string options;
    right >> type >> skip >> options;
    if (root != "/") continue;
    if (version == Groups::Version::kV2 && type == "cgroup2") return point;
    if (version == Groups::Version::kV1 && type == "cgroup" &&
        ("," + options + ",").find(",cpuset,") != std::string::npos)
      return point;
  }
  return {};
}

}  // namespace

bool Groups::available(Version version) {
  std::string root = mounted(version);
  if (root.empty()) return false;
  return version == Version::kV1 || has_word(read_line(root + "/cgroup.controllers"), "cpuset");
}

Result<Groups> Groups::open(Version version) {
  if (!available(version))
    return Error{ENOTSUP, fmt::format("no cpuset controller of cgroup v{} is mounted here",
                                      version == Version::kV2 ? 2 : 1)};
  return Groups(version, mounted(version));
}

/* Each part may be there already. */
Result<void> Groups::make_top() const {
  if (version_ == Version::kV2 && !has_word(read_line(root_ + "/cgroup.subtree_control"), "cpuset"))
    CTN_TRY(write_file(root_ + "/cgroup.subtree_control", "+cpuset"));
  if (::mkdir(top().c_str(), 0755) != 0 && errno != EEXIST) return system_error(fmt::format("make group '{}'", top()));
  if (version_ == Version::kV2) {
    if (!has_word(read_line(top() + "/cgroup.subtree_control"), "cpuset"))
      CTN_TRY(write_file(top() + "/cgroup.subtree_control", "+cpuset"));
    return {};
  }
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"})
    if (read_line(top() + file) != read_line(root_ + file)) CTN_TRY(write_file(top() + file, read_line(root_ + file)));
  return {};
}

Result<void> Groups::set(const std::string& group, const IndexSet& cpus, const IndexSet& mems, bool migrate) const {
  CTN_TRY(make_top());
  std::string own = path(group);
  if (::mkdir(own.c_str(), 0755) != 0 && errno != EEXIST) return system_error(fmt::format("make group '{}'", own));
  if (version_ == Version::kV2 && read_line(own + "/cgroup.type") != "threaded")
    CTN_TRY(write_file(own + "/cgroup.type", "threaded"));
  if (version_ == Version::kV1 && read_line(own + "/cpuset.memory_migrate") != (migrate ? "1" : "0"))
    CTN_TRY(write_file(own + "/cpuset.memory_migrate", migrate ? "1" : "0"));
  for (const auto& [file, set] : {std::pair{"/cpuset.cpus", &cpus}, {"/cpuset.mems", &mems}}) {
    /* v1 knows no inheriting. */
    std::string text = set->empty() && version_ == Version::kV1 ? read_line(top() + file) : set->to_string();
    if (read_line(own + file) != text) CTN_TRY(write_file(own + file, text + "\n"));
  }
  return {};
}

std::string Groups::path_of(pid_t tid) const {
  std::ifstream file(fmt::format("/proc/{}/cgroup", tid));
  for (std::string line; std::getline(file, line);) {
    std::size_t first = line.find(':');
    std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool ours = version_ == Version::kV2 ? line.starts_with("0::")
                                         : ("," + controllers + ",").find(",cpuset,") != std::string::npos;
    if (ours) return line.substr(second + 1);
  }
  return {};
}

std::optional<std::string> Groups::group_of(pid_t tid) const {
  std::string path = path_of(tid);
  std::string ours = std::string("/") + kGroupName;
  if (path == ours) return "";
  if (path.starts_with(ours + "/")) return path.substr(ours.size() + 1);
  return std::nullopt;
}

bool Groups::managed(pid_t tid) const {
  if (version_ == Version::kV1) return false;
  std::istringstream parts(path_of(tid));
  for (std::string part; std::getline(parts, part, '/');)
    if (part.ends_with(".service") || part.ends_with(".scope")) return true;
  return false;
}

Result<void> Groups::put_process(const std::string& group, pid_t pid) const {
  return write_file(path(group) + "/cgroup.procs", std::to_string(pid));
}

Result<void> Groups::put_thread(const std::string& group, pid_t tid) const {
  return write_file(path(group) + threads_file(), std::to_string(tid));
}

Result<void> Groups::take_out(pid_t pid) const {
  return write_file(root_ + "/cgroup.procs", std::to_string(pid));
}

std::vector<std::string> Groups::all() const {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(top(), error))
    if (entry.is_directory()) out.push_back(entry.path().filename());
  return out;
}

std::vector<pid_t> Groups::threads(const std::string& group) const {
  std::ifstream file(path(group) + threads_file());
  std::vector<pid_t> out;
  for (pid_t tid = 0; file >> tid;) out.push_back(tid);
  return out;
}

std::string Groups::cpus(const std::string& group) const { return read_line(path(group) + "/cpuset.cpus"); }
std::string Groups::mems(const std::string& group) const { return read_line(path(group) + "/cpuset.mems"); }
bool Groups::remove(const std::string& group) const { return ::rmdir(path(group).c_str()) == 0 || errno == ENOENT; }
std::uint64_t Groups::top_inode() const {
  struct stat st = {};
  return ::stat(top().c_str(), &st) == 0 ? st.st_ino : 0;
}
void Groups::remove_top() const { (void)::rmdir(top().c_str()); }

}  // namespace ctnbpf
