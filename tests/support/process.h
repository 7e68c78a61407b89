/* Running commands from tests: the real binary, and workloads. */
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace ctnbpf::test {

struct Output {
  int code = -1; /* exit status, or 128 + signal */
  std::string out;
  std::string err;
};

/* Waits for the end of a child: exit status, or 128 + signal. */
int wait_for(pid_t pid);
/* Becomes `argv` (found in PATH), or ends with 127. */
[[noreturn]] void exec(const std::vector<std::string>& argv);

/* Runs `argv` (found in PATH) to its end, with empty standard input. */
Output run(const std::vector<std::string>& argv);
/* Runs a shell command line. */
Output shell(const std::string& script);
/* `ctnbpf ARGS...`: the binary built beside this test, on its pins. */
Output ctnbpf(const std::vector<std::string>& args);
std::string ctnbpf_path();

/* A process in the background; killed and reaped at the latest by the destructor. */
class Background {
 public:
  explicit Background(const std::vector<std::string>& argv);
  /* Runs `body` in a forked child, whose exit status is what it returns. */
  explicit Background(const std::function<int()>& body);
  Background(Background&& other) noexcept;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  ~Background();

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /* Waits for its end: exit status, or 128 + signal. */
  int wait();

 private:
  pid_t pid_ = -1;
};

/* Waits until `done` is true, looking again whenever a little time has passed; false after the
 * deadline. For what no event tells of (a counter in the kernel). */
bool eventually(const std::function<bool()>& done,
                std::chrono::milliseconds deadline = std::chrono::seconds(20));

}  // namespace ctnbpf::test
