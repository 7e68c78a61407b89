#include "command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "companion.h"

namespace ctnbpf::top {

std::string command_says(std::vector<std::string> words, bool& good) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::close(0);
    std::vector<char*> argv;
    words.insert(words.begin(), cli::find_program("ctnbpf"));
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string text;
  char piece[512];
  for (ssize_t got = 0; (got = ::read(ends[0], piece, sizeof(piece))) > 0;)
    text.append(piece, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return text.substr(0, text.find('\n'));
}

}  // namespace ctnbpf::top
