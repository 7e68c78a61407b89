/* A mounted containerfs for tests, and files by their errno. */
#pragma once

#include <string>
#include <vector>

#include "process.h"

namespace ctnbpf::test {

/* 0 or the errno; as one open, write and close. */
int write_to(const std::string& path, const std::string& text);
/* What one open, read to the end and close gives. */
std::string read_from(const std::string& path);
/* 0 or the errno of what returns -1 for a failure. */
int code_of(long returned);

/* Loads its module where that has not been done. */
void need_fuse();

/* `ctnbpf mount` on a directory of its own until the end of this. */
class Mounted {
 public:
  explicit Mounted(const std::vector<std::string>& words = {});
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  ~Mounted();

  const std::string& dir() const { return dir_; }
  std::string operator/(const std::string& path) const { return dir_ + "/" + path; }
  Output mount(const std::vector<std::string>& words) const;
  /* The server's pid; 0: it has none. */
  pid_t server() const;
  static bool is_mounted(const std::string& dir);

 private:
  std::string dir_;
};

/* Unmounts what is on `dir` and waits until its server is gone. */
void unmount(const std::string& dir);

/* Runs `body` in a child as this user and group, with no others; what it returns, up to 255. */
int as_user(uid_t uid, const std::function<int()>& body);

}  // namespace ctnbpf::test
