#include "placement/groups.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "kernel/iterators.h"
#include "ctnbpf/address.h"
#include "ctnbpf/state.h"
#include "kernel/instances.h"
#include "ctnbpf/namespaces.h"
#include "ctnbpf/pins.h"
#include "placement/affinity.h"
#include "placement/group_limits.h"
#include "placement/kind.h"
#include "placement/placement.h"
#include "kernel/run_program.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGroupName = "ctnbpf";
constexpr const char* kHomePrefix = "from-";
/* On a home: the path of the group its processes came from. */
constexpr const char* kCameFrom = "trusted.ctnbpf.came_from";
/* On the root group of v2: it was us who switched the controller on. */
constexpr const char* kSwitchedOn = "trusted.ctnbpf.cpuset";

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

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
    return system_error(fmt::format("make group '{}'", path));
  return {};
}

/* Removes a group and those below it, leaves first; what is in use stays. */
void remove_tree(const std::string& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error))
    if (entry.is_directory()) remove_tree(entry.path());
  (void)::rmdir(path.c_str());
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

/* mounted(), if the controller is there. */
std::string usable(Groups::Version version) {
  std::string root = mounted(version);
  if (version == Groups::Version::kV2 &&
      !has_word(read_line(root + "/cgroup.controllers"), "cpuset"))
    return {};
  return root;
}

/* Of the instance that has this for `groups` in its core. */
std::string name_for(std::uint32_t number) {
  return number == 0 ? kGroupName : fmt::format("{}-{}", kGroupName, number);
}

/* The groups of instances at the top, whichever there are. */
std::map<std::string, std::uint32_t> tops(const std::string& root) {
  std::map<std::string, std::uint32_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    std::string name = entry.path().filename();
    std::string digits = name.substr(std::min(name.size(), name_for(0).size() + 1));
    std::uint32_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (name == name_for(number) && entry.is_directory()) found.emplace(name, number);
  }
  return found;
}

}  // namespace

MayMove::MayMove(const Pins& pins) {
  /* Not there: this is not the version that made the pins, and nothing keeps anybody. */
  if (auto program = pins.open_prog("s_placing")) program_ = std::move(*program);
  if (program_.valid()) (void)run_program(program_, std::array<std::uint64_t, 1>{1}, kAnyCpu);
}

MayMove::~MayMove() {
  if (program_.valid()) (void)run_program(program_, std::array<std::uint64_t, 1>{0}, kAnyCpu);
}

bool Groups::available(Version version) { return !usable(version).empty(); }

Result<Groups> Groups::open(Version version, const State& state) {
  std::string root = usable(version);
  if (root.empty())
    return Error{ENOTSUP, fmt::format("no cpuset controller of cgroup v{} is mounted here",
                                      version == Version::kV2 ? 2 : 1)};
  return Groups(version, root, name_for(state.core().groups), state.pins().root());
}

Result<std::vector<Groups>> Groups::abandoned(Version version, const State& state) {
  std::vector<Groups> found;
  std::string root = usable(version);
  if (root.empty()) return found;
  CTN_ASSIGN(auto in_use, groups_in_use());
  for (const auto& [name, number] : tops(root))
    if (!in_use.contains(number)) found.push_back(Groups(version, root, name, state.pins().root()));
  return found;
}

bool Groups::holds(pid_t tid) {
  for (Version version : {Version::kV2, Version::kV1}) {
    std::string path = Groups(version, "", "", "").path_of(tid);
    if (!path.starts_with(std::string("/") + kGroupName)) continue;
    if (std::size_t below = path.find('/', 1);
        below != std::string::npos && !home_of(path.substr(below + 1)).empty())
      return true;
  }
  return false;
}

/* The masks that would be lost are those of tasks that lack a CPU which is online: what is offline too, the
 * kernel adds when it comes. */
Result<void> Groups::nobody_minds() const {
  if (!in_initial_pid_namespace())
    return Error{
        EPERM,
        fmt::format("tasks of other pid namespaces may have chosen their CPUs, which cannot be "
                    "seen from this one, and would get all again if cpuset were switched over "
                    "in '{}/cgroup.subtree_control'",
                    root_)};
  CTN_ASSIGN(auto own, run_iterator_as<place_own_mask>(Pins(pins_), "i_own_masks", 0));
  IndexSet online = kCpus.online();
  const place_own_mask* first = nullptr;
  std::size_t more = 0;
  for (const place_own_mask& task : own) {
    IndexSet mask = affinity::mask_of_thread(static_cast<pid_t>(task.tid));
    if (mask.empty() || online.within(mask)) continue; /* gone */
    if (first == nullptr)
      first = &task;
    else
      more++;
  }
  if (first == nullptr) return {};
  std::string comm(first->comm, ::strnlen(first->comm, sizeof(first->comm)));
  return Error{
      EBUSY,
      fmt::format("task {} ({}){} has chosen its CPUs and would get all again if cpuset were "
                  "switched over in '{}/cgroup.subtree_control'",
                  first->tid, printable(comm), more == 0 ? "" : fmt::format(", as {} more,", more),
                  root_)};
}

Result<void> Groups::switch_on(const std::string& directory) const {
  std::string file = directory + "/cgroup.subtree_control";
  if (has_word(read_line(file), "cpuset")) return {};
  if (directory == root_) {
    if (!refused_)
      if (auto asked = nobody_minds(); !asked) refused_ = asked.error();
    if (refused_)
      return Error{refused_->code,
                   refused_->what + ": a hierarchy with --placement affinity does without"};
    /* Marked first: a mark too many is taken off by switch_off. */
    if (::setxattr(root_.c_str(), kSwitchedOn, "1", 1, 0) != 0)
      return system_error(fmt::format("mark '{}'", root_));
  }
  return write_file(file, "+cpuset");
}

/* v1 knows no inheriting, and takes nothing that a group beside has for itself alone. */
Result<void> Groups::inherit(const std::string& directory, const std::string& above) const {
  for (const auto& [kind, file] : {std::pair{&kCpus, "/cpuset.cpus"}, {&kNodes, "/cpuset.mems"}}) {
    std::string text = read_line(above + file);
    if (directory == top())
      if (auto all = parse_index_set(file, text, kind->limit))
        text = all->without(taken_v1(*kind)).to_string();
    if (read_line(directory + file) != text) CTN_TRY(write_file(directory + file, text));
  }
  return {};
}

IndexSet Groups::taken_v1(const PlaceKind& kind) const {
  bool cpus = &kind == &kCpus;
  IndexSet taken;
  std::error_code error;
  for (const auto& group : fs::directory_iterator(root_, error)) {
    std::string path = group.path();
    if (!group.is_directory(error) || path == top() ||
        read_line(path + (cpus ? "/cpuset.cpu_exclusive" : "/cpuset.mem_exclusive")) != "1")
      continue;
    auto its =
        parse_index_set("", read_line(path + (cpus ? "/cpuset.cpus" : "/cpuset.mems")), kind.limit);
    if (its) taken = taken | *its;
  }
  return taken;
}

/* Each part may be there already. */
Result<void> Groups::make_top() const {
  if (version_ == Version::kV2) CTN_TRY(switch_on(root_));
  CTN_TRY(make_directory(top()));
  return version_ == Version::kV2 ? switch_on(top()) : inherit(top(), root_);
}

Result<std::string> Groups::make_home(pid_t pid) const {
  std::string from = path_of(pid);
  if (group_of(pid)) from = "/";
  if (from.starts_with("/.."))
    return Error{ENOTSUP,
                 fmt::format("process {} is in a group that cannot be seen from here", pid)};
  struct stat st = {};
  if (from.empty() || ::stat((root_ + from).c_str(), &st) != 0)
    return Error{ESRCH, fmt::format("process {} is gone", pid)};
  std::string home = kHomePrefix + std::to_string(st.st_ino);
  CTN_TRY(make_top());
  CTN_TRY(make_directory(path(home)));
  if (::setxattr(path(home).c_str(), kCameFrom, from.data(), from.size(), 0) != 0)
    return system_error(fmt::format("note in '{}' where its processes came from", path(home)));
  return home;
}

std::string Groups::home_of(const std::string& group) {
  return group.starts_with(kHomePrefix) ? group.substr(0, group.find('/')) : std::string();
}

Result<void> Groups::set(const std::string& group, const IndexSet& cpus, const IndexSet& mems,
                         bool migrate) const {
  CTN_TRY(make_top());
  std::string own = path(group);
  std::string home = path(home_of(group));
  CTN_TRY(make_directory(home));
  CTN_TRY(version_ == Version::kV2 ? switch_on(home) : inherit(home, top()));
  CTN_TRY(make_directory(own));
  if (version_ == Version::kV2 && read_line(own + "/cgroup.type") != "threaded")
    CTN_TRY(write_file(own + "/cgroup.type", "threaded"));
  if (version_ == Version::kV1 &&
      read_line(own + "/cpuset.memory_migrate") != (migrate ? "1" : "0"))
    CTN_TRY(write_file(own + "/cpuset.memory_migrate", migrate ? "1" : "0"));
  for (const auto& [file, set] : {std::pair{"/cpuset.cpus", &cpus}, {"/cpuset.mems", &mems}}) {
    std::string text =
        set->empty() && version_ == Version::kV1 ? read_line(top() + file) : set->to_string();
    if (read_line(own + file) != text) CTN_TRY(write_file(own + file, text + "\n"));
  }
  return {};
}

std::string Groups::path_of(pid_t tid) const {
  std::ifstream file(fmt::format("{}/{}/cgroup", proc_root(), tid));
  for (std::string line; std::getline(file, line);) {
    std::size_t first = line.find(':');
    std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool ours = version_ == Version::kV2
                    ? line.starts_with("0::")
                    : ("," + controllers + ",").find(",cpuset,") != std::string::npos;
    if (ours) return line.substr(second + 1);
  }
  return {};
}

IndexSet Groups::granted(const PlaceKind& kind, const std::string& path) const {
  bool cpus = &kind == &kCpus;
  const char* file = version_ == Version::kV2
                         ? (cpus ? "/cpuset.cpus.effective" : "/cpuset.mems.effective")
                         : (cpus ? "/cpuset.effective_cpus" : "/cpuset.effective_mems");
  for (std::string group = path == "/" ? "" : path;; group.erase(group.find_last_of('/'))) {
    std::string line = read_line(root_ + group + file);
    auto set = parse_index_set(file, line, kind.limit);
    if (set && !set->empty())
      return version_ == Version::kV1 && group.empty() ? set->without(taken_v1(kind)) : *set;
    if (group.find('/') == std::string::npos) return kind.online();
  }
}

std::string Groups::exclusive_owner(const PlaceKind& kind, const IndexSet& some) const {
  bool cpus = &kind == &kCpus;
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(root_, error); at != fs::end(at);
       at.increment(error)) {
    if (!at->is_directory(error)) continue;
    std::string path = at->path();
    if (path == top()) {
      at.disable_recursion_pending();
      continue;
    }
    /* "root invalid (...)" has nothing. Nodes are nobody's alone in v2. */
    std::string state = read_line(path + (version_ == Version::kV2 ? "/cpuset.cpus.partition"
                                          : cpus                   ? "/cpuset.cpu_exclusive"
                                                                   : "/cpuset.mem_exclusive"));
    bool alone =
        version_ == Version::kV1 ? state == "1" : cpus && (state == "root" || state == "isolated");
    std::string name = path.substr(root_.size());
    if (alone && granted(kind, name).meets(some)) return name;
  }
  return {};
}

std::optional<std::string> Groups::group_of(pid_t tid) const {
  std::string path = path_of(tid);
  std::string ours = "/" + name_;
  if (path == ours) return "";
  if (path.starts_with(ours + "/")) return path.substr(ours.size() + 1);
  return std::nullopt;
}

std::string Groups::kept_by(pid_t tid) const {
  std::string path = path_of(tid);
  auto [found, fresh] = kept_by_.emplace(path, "");
  if (!fresh) return found->second;
  std::istringstream parts(version_ == Version::kV2 ? path : "");
  for (std::string part; std::getline(parts, part, '/');)
    if (part.ends_with(".service") || part.ends_with(".scope"))
      return found->second = "a service manager made it";
  if (std::string limit = limit_on(root_, path); !limit.empty())
    found->second = limit + " binds it";
  return found->second;
}

Result<void> Groups::put_process(const std::string& group, pid_t pid) const {
  MayMove allowed{Pins(pins_)};
  return write_file(path(group) + "/cgroup.procs", std::to_string(pid));
}

Result<void> Groups::put_thread(const std::string& group, pid_t tid) const {
  MayMove allowed{Pins(pins_)};
  return write_file(path(group) + threads_file(), std::to_string(tid));
}

Result<void> Groups::take_out(pid_t pid) const {
  MayMove allowed{Pins(pins_)};
  std::array<char, 4096> from = {};
  ssize_t size = ::getxattr(path(home_of(group_of(pid).value_or(""))).c_str(), kCameFrom,
                            from.data(), from.size());
  std::string to(from.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  for (;;) {
    if (to == "/") to.clear();
    auto done = write_file(root_ + to + "/cgroup.procs", std::to_string(pid));
    if (done || done.error().code == ESRCH || to.empty()) return done;
    to.erase(to.find_last_of('/'));
  }
}

std::vector<std::string> Groups::all() const {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& home : fs::directory_iterator(top(), error)) {
    if (!home.is_directory()) continue;
    std::string name = home.path().filename();
    for (const auto& group : fs::directory_iterator(home.path(), error))
      if (group.is_directory()) out.push_back(name + "/" + group.path().filename().string());
    out.push_back(name);
  }
  out.emplace_back();
  return out;
}

std::vector<pid_t> Groups::threads(const std::string& group) const {
  std::ifstream file(path(group) + threads_file());
  std::vector<pid_t> out;
  for (pid_t tid = 0; file >> tid;) out.push_back(tid);
  return out;
}

std::string Groups::cpus(const std::string& group) const {
  return read_line(path(group) + "/cpuset.cpus");
}
std::string Groups::mems(const std::string& group) const {
  return read_line(path(group) + "/cpuset.mems");
}
std::uint64_t Groups::top_inode() const {
  struct stat st = {};
  return ::stat(top().c_str(), &st) == 0 ? st.st_ino : 0;
}

void Groups::remove_empty() const { remove_tree(top()); }

/* While another instance has groups it is not for us to switch off: whoever goes last does. */
bool Groups::switched_on() const {
  char mark = 0;
  for (const auto& [name, number] : tops(root_))
    if (name != name_) return false;
  return version_ == Version::kV2 && ::getxattr(root_.c_str(), kSwitchedOn, &mark, 1) == 1;
}

/* The kernel refuses while a group passes the controller on. One that uses it without passing it on has a
 * list of its own. */
void Groups::switch_off() const {
  if (!switched_on() || !nobody_minds()) return;
  bool used = false;
  std::error_code error;
  for (const auto& group : fs::directory_iterator(root_, error))
    for (const char* file : {"/cpuset.cpus", "/cpuset.mems"})
      used = used || (group.is_directory() && !read_line(group.path().string() + file).empty());
  if (!used) (void)write_file(root_ + "/cgroup.subtree_control", "-cpuset");
  (void)::removexattr(root_.c_str(), kSwitchedOn);
}

}  // namespace ctnbpf
