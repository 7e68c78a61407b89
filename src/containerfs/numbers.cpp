#include "numbers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <sstream>

#include "ctnbpf/namespaces.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::containerfs {
namespace {

UniqueFd space_of(const std::string& task) {
  return UniqueFd(
      ::open(fmt::format("{}/{}/ns/pid", proc_root(), task).c_str(), O_RDONLY | O_CLOEXEC));
}

ino_t inode_of(const UniqueFd& fd) {
  struct stat st = {};
  return fd.valid() && ::fstat(fd.get(), &st) == 0 ? st.st_ino : 0;
}

/* The task's numbers, from that in our namespace to that in its own. */
std::vector<pid_t> numbers_of(pid_t task) {
  std::vector<pid_t> numbers;
  std::istringstream text(status_text(task, "NSpid:"));
  for (pid_t number = 0; text >> number;) numbers.push_back(number);
  return numbers;
}

}  // namespace

Numbers Numbers::of(pid_t client) {
  Numbers numbers;
  if (client <= 0) return numbers;
  numbers.space_ = inode_of(space_of(std::to_string(client)));
  static const ino_t kOurs = inode_of(space_of("self"));
  if (numbers.space_ == 0) return numbers;
  if (numbers.space_ == kOurs) {
    numbers.kind_ = Kind::kSame;
    return numbers;
  }
  std::size_t levels = numbers_of(client).size();
  if (levels < 2) return numbers;
  numbers.level_ = levels - 1;
  numbers.kind_ = Kind::kBelow;
  return numbers;
}

std::optional<pid_t> Numbers::theirs(pid_t number) const {
  if (kind_ == Kind::kSame) return number;
  if (kind_ == Kind::kUnseen) return std::nullopt;
  std::vector<pid_t> all = numbers_of(number);
  if (all.size() <= level_) return std::nullopt;
  /* At that level there may be other namespaces than the client's. */
  UniqueFd space = space_of(std::to_string(number));
  for (std::size_t up = all.size() - 1; up > level_ && space.valid(); up--)
    space = UniqueFd(::ioctl(space.get(), NS_GET_PARENT));
  if (inode_of(space) != space_) return std::nullopt;
  return all[level_];
}

std::optional<pid_t> Numbers::ours(pid_t number, const std::vector<ctn_walk_task>& all) const {
  if (kind_ == Kind::kSame) return number;
  if (kind_ == Kind::kUnseen) return std::nullopt;
  for (const ctn_walk_task& task : all)
    if (auto tid = static_cast<pid_t>(task.tid); theirs(tid) == number) return tid;
  return std::nullopt;
}

}  // namespace ctnbpf::containerfs
