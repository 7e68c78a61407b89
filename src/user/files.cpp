#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <sstream>

#include "mounts.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::user {
namespace {

Result<std::string> read_all(int fd, const std::string& path) {
  std::string text;
  char piece[16384];
  for (;;) {
    ssize_t got = ::pread(fd, piece, sizeof(piece), static_cast<off_t>(text.size()));
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(fmt::format("read '{}'", printable(path)));
    text.append(piece, static_cast<std::size_t>(got));
  }
}

Result<UniqueFd> open_file(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.valid()) return system_error(fmt::format("open '{}'", printable(path)));
  return fd;
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  CTN_ASSIGN(UniqueFd fd, open_file(path, O_RDONLY));
  return read_all(fd.get(), path);
}

Result<std::string> read_file(const Place& place, const char* name) {
  return read_file(place.file(name));
}

int write_file(const std::string& path, const std::string& text) {
  auto fd = open_file(path, O_WRONLY);
  if (!fd) return fd.error().code;
  return ::write(fd->get(), text.data(), text.size()) < 0 ? errno : 0;
}

Result<std::string> ask_file(const std::string& path, const std::string& question) {
  CTN_ASSIGN(UniqueFd fd, open_file(path, O_RDWR));
  if (::write(fd.get(), question.data(), question.size()) < 0)
    return system_error(fmt::format("write '{}'", printable(path)));
  return read_all(fd.get(), path);
}

Result<std::vector<Place>> children(const Place& place) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(place.dir().c_str()), ::closedir);
  if (!dir) {
    if (errno == EACCES)
      return Error{EACCES,
                   fmt::format("user {} may not look into {}", ::geteuid(), place.address())};
    return system_error(place.address());
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  std::vector<Place> found;
  for (const std::string& name : names) found.push_back(place.child(name));
  return found;
}

Result<std::vector<Place>> subtree(const Place& place) {
  std::vector<Place> found{place};
  CTN_ASSIGN(auto below, children(place));
  for (const Place& child : below) {
    CTN_ASSIGN(auto all, subtree(child));
    found.insert(found.end(), all.begin(), all.end());
  }
  return found;
}

/* A line: time, thread, uid, file, sentence. Two requests of one thread for one file do not fail at once, so the
 * last line that fits is the one. */
Error failure(const Hierarchy& hierarchy, const std::string& file, int code,
              const std::string& otherwise) {
  std::string own = fmt::format(" {} {} {} ", ::gettid(), ::geteuid(), file);
  Error error = {code, fmt::format("{}: {}", otherwise, std::strerror(code))};
  auto text = read_file(hierarchy.mount + "/.errors");
  if (!text) return error;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t time = line.find(' ');
    if (time != std::string::npos && line.compare(time, own.size(), own) == 0)
      error.what = line.substr(time + own.size());
  }
  return error;
}

}  // namespace ctnbpf::user
