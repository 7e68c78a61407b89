/* Fixture of the cpuacct tests. What the scheduler itself kept of each task (/proc/PID/schedstat) is
 * the measure. */
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "kernel_test.h"
#include "ctnbpf/attributes.h"
#include "workload.h"

namespace ctnbpf::test {

class CpuTest : public KernelTest {
 protected:
  using Clock = std::chrono::steady_clock;

  std::uint64_t usage(const std::string& address) { return number(address, "cpuacct.usage"); }
  std::uint64_t total(const std::string& address) { return number(address, "cpuacct.total"); }
  std::string text(const std::string& address, const std::string& attribute) {
    State now = state();
    auto found = find_attribute(now, slot(address), attribute);
    EXPECT_TRUE(found.has_value()) << found.error().what;
    auto value = found->attribute->read(now, slot(address));
    EXPECT_TRUE(value.has_value()) << value.error().what;
    return to_string(*value);
  }

  /* In ns, up to the task's last switch or tick. */
  struct Schedstat {
    std::uint64_t ran = 0;
    std::uint64_t waited = 0;
  };
  static Schedstat schedstat(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/schedstat", pid));
    Schedstat out;
    file >> out.ran >> out.waited;
    return out;
  }

  static void burn(std::chrono::duration<double> time) {
    auto end = Clock::now() + time;
    while (Clock::now() < end) {
    }
  }
  static int burn_for_ever() {
    for (;;) burn(std::chrono::seconds(1));
    return 0;
  }
  /* Until this process used so much CPU time. */
  static void use_cpu(std::chrono::nanoseconds time) {
    timespec now = {};
    do {
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    } while (std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec) < time);
  }

  static void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof(set), &set);
  }

  /* A task that is in `address` from its first figure on: what it used before is in `before`. */
  struct Task {
    Background process;
    Schedstat before;
    pid_t pid() const { return process.pid(); }
    std::uint64_t used() const { return schedstat(pid()).ran - before.ran; }
    std::uint64_t waited() const { return schedstat(pid()).waited - before.waited; }
  };
  Task start(const std::string& address, const std::function<int()>& body) {
    std::array<int, 2> gate = {};
    EXPECT_EQ(::pipe2(gate.data(), O_CLOEXEC), 0);
    Background child([&] {
      char go = 0;
      ::close(gate[1]);
      if (::read(gate[0], &go, 1) != 1) return 125;
      return body();
    });
    ::close(gate[0]);
    EXPECT_TRUE(eventually([&] { return rests(child.pid(), 'S'); }));
    Schedstat before = schedstat(child.pid());
    attach_pid(address, child.pid());
    EXPECT_EQ(::write(gate[1], "g", 1), 1);
    ::close(gate[1]);
    return {std::move(child), before};
  }

  static char state_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    std::size_t end = line.rfind(')');
    return end == std::string::npos || end + 2 >= line.size() ? '?' : line[end + 2];
  }
  /* Is it in `state`, and has it left its CPU? A task is in its new state some time before that, and
   * uses CPU time until then. The kernel shows what system call it is in (or -1) only afterwards. */
  static bool rests(pid_t pid, char state) {
    if (state_of(pid) != state) return false;
    std::ifstream file(fmt::format("/proc/{}/syscall", pid));
    std::string call;
    return file >> call && call != "running";
  }
  /* Stops it; when this returns it has been switched away from. */
  static void stop(const Task& task) {
    ::kill(task.pid(), SIGSTOP);
    EXPECT_EQ(::waitpid(task.pid(), nullptr, WUNTRACED), task.pid());
    EXPECT_TRUE(eventually([&] { return rests(task.pid(), 'T'); }));
  }

  /* |got - want| <= want / parts. */
  static void expect_within(std::uint64_t got, std::uint64_t want, std::uint64_t parts,
                            const char* whose = "the tasks") {
    std::uint64_t off = got > want ? got - want : want - got;
    EXPECT_LE(off, want / parts) << "charged " << got << " ns, " << whose << " used " << want
                                 << " ns";
    fmt::print("charged {} ns, {} used {} ns: {} ns off ({:.4f} %)\n", got, whose, want, off,
               100.0 * static_cast<double>(off) / static_cast<double>(want));
  }
};

}  // namespace ctnbpf::test
