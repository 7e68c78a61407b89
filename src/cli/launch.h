/* A command that is started in two steps, so that it can be placed in containers before exec, and
 * then waited for as if it ran alone. */
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "ctnbpf/result.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::cli {

struct Ended {
  int status = 0; /* as of wait(2) */
  rusage usage = {};

  /* The command's own status, or 128 + the signal that ended it. */
  int exit_code() const;
  /* "cpu 21.90 s (user 19.2 sys 2.7)", of the command and the children it waited for. */
  std::string cpu_time() const;
};

/* A child that waits for release() before it runs anything of the command. If this process dies
 * first, the child ends without having run it. */
class Launch {
 public:
  static Result<Launch> start(const std::vector<std::string>& argv,
                              void (*prepare)(const std::string& told));
  Launch(Launch&&) = default;

  pid_t pid() const { return pid_; }
  /* Lets it exec, after `prepare` of start() was called there with `told`. ENOENT, EACCES, ...: exec
   * failed, and the child is gone. */
  Result<void> release(const std::string& told);
  /* The child is not to run: ends it. */
  void abandon();
  /* Waits for its end. Signals sent to us go to it; those the terminal sends to our group it has got
   * itself. When it stops, we stop; when we are continued, it is. */
  Ended wait();

 private:
  Launch() = default;
  pid_t pid_ = -1;
  UniqueFd gate_;       /* a byte written here releases the child */
  UniqueFd exec_error_; /* its errno comes here if exec fails; end of file if not */
  sigset_t waited_ = {};
};

}  // namespace ctnbpf::cli
