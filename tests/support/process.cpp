#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <thread>
#include <utility>

namespace ctnbpf::test {

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void exec(const std::vector<std::string>& argv) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  ::_exit(127);
}

Output run(const std::vector<std::string>& argv) {
  std::array<int, 2> out = {};
  std::array<int, 2> err = {};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return {};
  pid_t pid = ::fork();
  if (pid == 0) {
    int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    exec(argv);
  }
  ::close(out[1]);
  ::close(err[1]);
  Output output;
  std::array<pollfd, 2> polled = {{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  std::array<std::string*, 2> text = {&output.out, &output.err};
  for (int open = 2; open > 0;) {
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < polled.size(); i++) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      std::array<char, 65536> chunk;
      ssize_t got = ::read(polled[i].fd, chunk.data(), chunk.size());
      if (got > 0) {
        text[i]->append(chunk.data(), static_cast<std::size_t>(got));
      } else {
        ::close(polled[i].fd);
        polled[i].fd = -1;
        open--;
      }
    }
  }
  output.code = wait_for(pid);
  return output;
}

Output shell(const std::string& script) { return run({"/bin/bash", "-c", script}); }

std::string ctnbpf_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "ctnbpf";
}

Output ctnbpf(const std::vector<std::string>& args) {
  std::vector<std::string> argv{ctnbpf_path()};
  argv.insert(argv.end(), args.begin(), args.end());
  return run(argv);
}

Background::Background(const std::vector<std::string>& argv) : pid_(::fork()) {
  if (pid_ == 0) exec(argv);
}

Background::Background(const std::function<int()>& body) : pid_(::fork()) {
  if (pid_ == 0) ::_exit(body());
}

Background::Background(Background&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Background::~Background() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait_for(pid_);
}

void Background::signal(int number) const { ::kill(pid_, number); }

int Background::wait() { return wait_for(std::exchange(pid_, -1)); }

bool eventually(const std::function<bool()>& done, std::chrono::milliseconds deadline) {
  auto end = std::chrono::steady_clock::now() + deadline;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace ctnbpf::test
