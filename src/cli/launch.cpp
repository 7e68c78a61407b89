#include "launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "ctnbpf/address.h"

namespace ctnbpf::cli {
namespace {

/* Ends what is told: had the parent died in between, it would be missing. */
constexpr char kGo = '\n';

/* Those a user or a terminal sends to a command; SIGCHLD to learn of its end. */
constexpr std::array kPassed = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGTSTP,
                                SIGCONT, SIGUSR1, SIGUSR2, SIGWINCH};

Result<void> make_pipe(UniqueFd& read_end, UniqueFd& write_end) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("make a pipe");
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return {};
}

/* In the child. */
[[noreturn]] void wait_and_exec(int gate, int exec_error, const std::vector<std::string>& argv,
                                const sigset_t& mask, const struct sigaction& on_child,
                                void (*prepare)(const std::string& told)) {
  std::string told; /* what the parent wrote before it closed the gate; nothing if it died */
  std::array<char, 4096> chunk;
  for (;;) {
    ssize_t got = ::read(gate, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    told.append(chunk.data(), static_cast<std::size_t>(got));
  }
  if (told.empty() || told.back() != kGo) ::_exit(125);
  told.pop_back();
  prepare(told);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::sigaction(SIGCHLD, &on_child, nullptr);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(words[0], words.data());
  int error = errno;
  (void)!::write(exec_error, &error, sizeof(error));
  ::_exit(error == ENOENT ? 127 : 126);
}

/* A shell that made itself the terminal's foreground group and was killed has left it so. */
void take_back_terminal() {
  int terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (terminal < 0) return;
  pid_t front = ::tcgetpgrp(terminal);
  if (front > 0 && front != ::getpgrp() && ::kill(-front, 0) != 0 && errno == ESRCH) {
    sigset_t ttou;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigset_t old;
    ::sigprocmask(SIG_BLOCK, &ttou, &old);
    ::tcsetpgrp(terminal, ::getpgrp());
    ::sigprocmask(SIG_SETMASK, &old, nullptr);
  }
  ::close(terminal);
}

}  // namespace

int Ended::exit_code() const {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string Ended::cpu_time() const {
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  double user = seconds(usage.ru_utime);
  double system = seconds(usage.ru_stime);
  return fmt::format("cpu {:.2f} s (user {:.1f} sys {:.1f})", user + system, user, system);
}

Result<Launch> Launch::start(const std::vector<std::string>& argv,
                             void (*prepare)(const std::string& told)) {
  Launch launch;
  UniqueFd gate_read;
  UniqueFd error_write;
  CTN_TRY(make_pipe(gate_read, launch.gate_));
  CTN_TRY(make_pipe(launch.exec_error_, error_write));

  sigset_t old_mask;
  sigemptyset(&launch.waited_);
  for (int signal : kPassed) sigaddset(&launch.waited_, signal);
  sigaddset(&launch.waited_, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &launch.waited_, &old_mask);
  /* Whoever started us may ignore SIGCHLD; then the command's status would be lost. */
  struct sigaction plain = {};
  plain.sa_handler = SIG_DFL;
  struct sigaction on_child = {};
  ::sigaction(SIGCHLD, &plain, &on_child);

  launch.pid_ = ::fork();
  if (launch.pid_ < 0) return system_error("start the command");
  if (launch.pid_ == 0) {
    launch.gate_.reset(); /* or our own copy would keep the gate open after the parent's death */
    wait_and_exec(gate_read.get(), error_write.get(), argv, old_mask, on_child, prepare);
  }
  return launch;
}

Result<void> Launch::release(const std::string& told) {
  std::string all = told + kGo;
  for (std::size_t at = 0;
       at < all.size();) { /* if the child is gone already, the read below ends */
    ssize_t done = ::write(gate_.get(), all.data() + at, all.size() - at);
    if (done < 0 && errno != EINTR) break;
    at += static_cast<std::size_t>(std::max<ssize_t>(done, 0));
  }
  gate_.reset();
  int error = 0;
  ssize_t got = 0;
  do got = ::read(exec_error_.get(), &error, sizeof(error));
  while (got < 0 && errno == EINTR);
  exec_error_.reset();
  if (got != sizeof(error)) return {};
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  return Error{error, std::strerror(error)};
}

void Launch::abandon() {
  gate_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Ended Launch::wait() {
  Ended ended;
  for (;;) {
    siginfo_t info = {};
    int signal = ::sigwaitinfo(&waited_, &info);
    if (signal < 0) continue; /* EINTR: we were stopped and continued */
    if (signal != SIGCHLD) {
      /* From the kernel (si_code > 0): the terminal, which tells our whole group, the command with
       * it. Only its hanging up is told to the session's leader alone. From the command itself: it
       * knows. */
      bool hangup = signal == SIGHUP && ::getsid(0) == ::getpid();
      bool to_us_alone = info.si_code <= 0 ? info.si_pid != pid_ : hangup;
      if (to_us_alone) ::kill(pid_, signal);
      continue;
    }
    int status = 0;
    pid_t got = 0;
    while ((got = ::wait4(pid_, &status, WNOHANG | WUNTRACED, &ended.usage)) > 0) {
      if (WIFSTOPPED(status)) {
        ::raise(SIGSTOP);
        ::kill(pid_, SIGCONT);
        continue;
      }
      ended.status = status;
      take_back_terminal();
      return ended;
    }
  }
}

}  // namespace ctnbpf::cli
