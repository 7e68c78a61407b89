#include "server.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include "requests.h"

namespace ctnbpf::containerfs {
namespace {

constexpr int kThreads = 4; /* that answer who reads */

sigset_t end_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Result<void> Server::mount(const std::string& dir, const std::string& options) {
  std::string name = "ctnbpf";
  std::string dash_o = "-o";
  std::string words = options;
  char* argv[] = {name.data(), dash_o.data(), words.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, argv);
  session_ = fuse_session_new(&args, &requests(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) return Error{EINVAL, "the file system cannot be set up: see above"};
  errno = 0;
  if (fuse_session_mount(session_, dir.c_str()) == 0) return {};
  int code = errno != 0 ? errno : EIO;
  return system_error(code, "mount on '" + dir + "'");
}

void Server::work() {
  fuse_buf buffer = {};
  while (fuse_session_exited(session_) == 0) {
    int got = fuse_session_receive_buf(session_, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) break; /* unmounted */
    fuse_session_process_buf(session_, &buffer);
  }
  std::free(buffer.mem);
  ::kill(::getpid(), SIGTERM);
}

void Server::serve() {
  sigset_t end = end_signals();
  sigprocmask(SIG_BLOCK, &end, nullptr); /* before there are threads */
  signal(SIGPIPE, SIG_IGN);
  std::thread([this] { states_.run(); }).detach();
  std::thread([this] { changes_.run(); }).detach();
  std::thread([this] { watch_.run(); }).detach();
  for (int i = 0; i < kThreads; i++) std::thread([this] { work(); }).detach();
  int number = 0;
  sigwait(&end, &number);
  fuse_session_unmount(session_); /* the threads end with the process, which is what comes now */
}

}  // namespace ctnbpf::containerfs
