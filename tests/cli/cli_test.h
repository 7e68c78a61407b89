/* Fixture and helpers of the tests that run the real binary. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kernel_test.h"

namespace ctnbpf::test {

class CliTest : public KernelTest {
 protected:
  /* `args` succeeds and says nothing on stderr, but for what a limit does not hold against on this kernel;
   * what it printed. */
  static std::string out(const std::vector<std::string>& args) {
    Output result = ctnbpf(args);
    EXPECT_EQ(result.code, 0) << line_of(args);
    if (!result.err.starts_with("ctnbpf: note: of a limit of ")) {
      EXPECT_EQ(result.err, "") << line_of(args);
    }
    return result.out;
  }

  static nlohmann::json json(std::vector<std::string> args) {
    args.insert(args.begin(), "--json");
    auto parsed = nlohmann::json::parse(out(args), nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << line_of(args);
    return parsed;
  }

  /* `args` ends with `code`, nothing on stdout and one line on stderr that contains all of `says`. */
  static void fails(const std::vector<std::string>& args, int code,
                    const std::vector<std::string>& says) {
    Output result = ctnbpf(args);
    EXPECT_EQ(result.code, code) << line_of(args) << "\n" << result.err;
    EXPECT_EQ(result.out, "") << line_of(args);
    expect_message(result.err, says);
  }

  /* The same under --json, with the errno's name on stdout; the message there is that of stderr. */
  static void fails_json(std::vector<std::string> args, int code, const std::string& errno_name) {
    args.insert(args.begin(), "--json");
    Output result = ctnbpf(args);
    EXPECT_EQ(result.code, code) << line_of(args);
    auto parsed = nlohmann::json::parse(result.out, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line_of(args) << "\n" << result.out;
    EXPECT_EQ(parsed["error"]["code"], errno_name);
    EXPECT_EQ("ctnbpf: " + parsed["error"]["message"].get<std::string>() + "\n", result.err);
  }

  static void expect_message(const std::string& text, const std::vector<std::string>& says) {
    EXPECT_TRUE(text.starts_with("ctnbpf: ")) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    for (const std::string& one : says)
      EXPECT_NE(text.find(one), std::string::npos) << one << "\nin: " << text;
  }

  static std::string line_of(const std::vector<std::string>& args) {
    std::string line = "ctnbpf";
    for (const std::string& arg : args) line += " " + arg;
    return line;
  }

  /* A process of its own in `address` that waits to be killed. */
  Background sleeper(const std::string& address) {
    return start_in(address, [] { return ::pause(); });
  }

  /* The subsystems of the default layout on this kernel, as `tree` and `where` print them. */
  std::string bound() const { return subsystem_list(state(), 0); }
  /* The default hierarchy's first line in `tree`. */
  std::string title() const {
    return "default (" + bound() + ")" +
           (level() == CTN_LEVEL_STRICT ? "" : std::string(", at level ") + level_name(level()));
  }

  /* How to set a limit on any kernel. */
  void limit(const std::string& address, const std::string& value) {
    out({"set", "--best-effort", address, "numtasks.limit=" + value});
  }
};

/* A command whose standard input and output are pipes to the test; stderr is the test's. Its input
 * ends, and it is killed and reaped, at the latest with this. */
class Piped {
 public:
  explicit Piped(
      const std::vector<std::string>& argv, const std::function<void()>& prepare = [] {}) {
    std::array<int, 2> in = {};
    std::array<int, 2> out = {};
    EXPECT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      /* Whoever started the tests in the background may have had these ignored. */
      for (int signal : {SIGINT, SIGQUIT, SIGHUP, SIGTERM}) ::signal(signal, SIG_DFL);
      prepare();
      exec(argv);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  Piped(const Piped&) = delete;
  Piped& operator=(const Piped&) = delete;
  ~Piped() {
    end_input();
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)wait();
    }
    ::close(out_);
  }

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }

  /* The next line it prints, without its end; empty at the end of its output. */
  std::string line() {
    std::string text;
    char c = 0;
    while (::read(out_, &c, 1) == 1 && c != '\n') text += c;
    return text;
  }

  void type(const std::string& text) const {
    EXPECT_EQ(::write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void end_input() {
    if (in_ >= 0) ::close(in_);
    in_ = -1;
  }

  /* Exit status, or 128 + signal. */
  int wait() { return wait_for(std::exchange(pid_, -1)); }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
};

}  // namespace ctnbpf::test
