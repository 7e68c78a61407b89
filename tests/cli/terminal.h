/* A program on a terminal of its own, driven by the test. */
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "process.h"

namespace ctnbpf::test {

inline constexpr const char* kCtrlC = "\x03";
inline constexpr const char* kCtrlZ = "\x1a";

/* The program leads a session whose terminal this is. Killed and reaped at the latest with it. */
class Pty {
 public:
  explicit Pty(const std::vector<std::string>& argv, const char* term = "dumb", int rows = 0,
               int columns = 0) {
    winsize size = size_of(rows, columns);
    pid_ = ::forkpty(&master_, nullptr, nullptr, rows != 0 ? &size : nullptr);
    if (pid_ == 0) {
      for (int signal : {SIGINT, SIGQUIT, SIGHUP, SIGTSTP}) ::signal(signal, SIG_DFL);
      ::setenv("TERM", term, 1);
      ::setenv("PS1", "$ ", 1);
      exec(argv);
    }
  }
  Pty(const Pty&) = delete;
  Pty& operator=(const Pty&) = delete;
  ~Pty() {
    hang_up();
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }

  pid_t pid() const { return pid_; }
  /* The process group in the foreground. */
  pid_t foreground() const { return ::tcgetpgrp(master_); }

  void type(const std::string& keys) const {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /* Waits until it shows `text`, after what was waited for before; false after a deadline. */
  ::testing::AssertionResult shows(const std::string& text) {
    constexpr int kDeadlineMs = 30'000;
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kDeadlineMs);
    for (;;) {
      if (std::size_t at = shown_.find(text); at != std::string::npos) {
        shown_.erase(0, at + text.size());
        return ::testing::AssertionSuccess();
      }
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      pollfd polled = {master_, POLLIN, 0};
      std::array<char, 4096> chunk;
      ssize_t got = -1;
      if (left.count() > 0 && ::poll(&polled, 1, static_cast<int>(left.count())) > 0)
        got = ::read(master_, chunk.data(), chunk.size());
      if (got <= 0) return ::testing::AssertionFailure() << "no '" << text << "' in: " << shown_;
      shown_.append(chunk.data(), static_cast<std::size_t>(got));
    }
  }

  /* Types a shell command line whose output is to contain `text`, which the line itself does not. */
  ::testing::AssertionResult says(const std::string& line, const std::string& text) {
    type(line + "\n");
    return shows(text);
  }

  void resize(int rows, int columns) const {
    winsize size = size_of(rows, columns);
    EXPECT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
  }

  /* The terminal's other end goes, as when a connection breaks. */
  void hang_up() {
    if (master_ >= 0) ::close(master_);
    master_ = -1;
  }

  /* Exit status, or 128 + signal. */
  int wait() { return wait_for(std::exchange(pid_, -1)); }

 private:
  static winsize size_of(int rows, int columns) {
    winsize size = {};
    size.ws_row = static_cast<unsigned short>(rows);
    size.ws_col = static_cast<unsigned short>(columns);
    return size;
  }

  pid_t pid_ = -1;
  int master_ = -1;
  std::string shown_;
};

}  // namespace ctnbpf::test
