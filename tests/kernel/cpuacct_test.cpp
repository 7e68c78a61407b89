/* cpuacct over real tasks: the promises of subsystems/cpuacct/cpuacct.cpp. What the scheduler itself
 * kept of each task (/proc/PID/schedstat) is the measure. */
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "cpuacct/cpuacct.h"
#include "kernel_test.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

using Clock = std::chrono::steady_clock;

/* Longer where the whole promise is to be shown: CTNBPF_CPU_SECONDS=10. */
std::chrono::duration<double> busy_time() {
  const char* text = std::getenv("CTNBPF_CPU_SECONDS");
  return std::chrono::duration<double>(text != nullptr ? std::atof(text) : 1.5);
}

/* CPU time of a task in ns, up to its last switch or tick. */
std::uint64_t schedstat(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/schedstat", pid));
  std::uint64_t ran = 0;
  file >> ran;
  return ran;
}

void burn(std::chrono::duration<double> time) {
  auto end = Clock::now() + time;
  while (Clock::now() < end) {
  }
}

std::uint64_t own_cpu_ns() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof(set), &set);
}

class Cpuacct : public KernelTest {
 protected:
  std::uint64_t usage(const std::string& address) { return number(address, "cpuacct.usage"); }
  std::uint64_t total(const std::string& address) { return number(address, "cpuacct.total"); }

  /* A task that is in `address` from its first figure on: what it used before is in `before`. */
  struct Task {
    Background process;
    std::uint64_t before;
    std::uint64_t used() const { return schedstat(process.pid()) - before; }
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
    EXPECT_TRUE(eventually([&] { return asleep(child.pid()); }));
    std::uint64_t before = schedstat(child.pid());
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
  static bool asleep(pid_t pid) { return state_of(pid) == 'S'; }
  /* Stops it; when this returns it has been switched away from. */
  static void stop(pid_t pid) {
    ::kill(pid, SIGSTOP);
    EXPECT_EQ(::waitpid(pid, nullptr, WUNTRACED), pid);
    EXPECT_TRUE(eventually([&] { return state_of(pid) == 'T'; }));
  }

  void remove(const std::string& address) {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto found = tree::find(*writer, address);
    ASSERT_TRUE(found.has_value()) << found.error().what;
    auto done = tree::remove(*writer, *found, true);
    ASSERT_TRUE(done.has_value()) << done.error().what;
  }

  /* `tasks` busy tasks for a while; then what was charged against what they say themselves. */
  void compare_busy(int tasks) {
    create("default:/a");
    std::vector<Task> all;
    all.reserve(static_cast<std::size_t>(tasks));
    for (int i = 0; i < tasks; i++)
      all.push_back(start("default:/a", [] {
        for (;;) burn(std::chrono::seconds(1));
        return 0;
      }));
    std::this_thread::sleep_for(busy_time()); /* the workload's length, nothing is awaited */
    for (const Task& task : all) stop(task.process.pid());
    std::uint64_t used = 0;
    for (const Task& task : all) used += task.used();
    EXPECT_GT(used, 100'000'000U);
    expect_within(usage("default:/a"), used, 1000);
  }

  /* |got - want| <= want / parts. */
  static void expect_within(std::uint64_t got, std::uint64_t want, std::uint64_t parts) {
    std::uint64_t off = got > want ? got - want : want - got;
    EXPECT_LE(off, want / parts) << "charged " << got << " ns, the tasks used " << want << " ns";
    fmt::print("charged {} ns, used {} ns, {} ns off ({:.4f} %)\n", got, want, off,
               100.0 * static_cast<double>(off) / static_cast<double>(want));
  }
};

TEST_F(Cpuacct, OneBusyTask) { compare_busy(1); }
TEST_F(Cpuacct, TwoBusyTasks) { compare_busy(2); }
TEST_F(Cpuacct, FortyBusyTasks) { compare_busy(40); }

TEST_F(Cpuacct, PingPong) {
  create("default:/a");
  create("default:/b");
  std::array<int, 2> there = {};
  std::array<int, 2> back = {};
  ASSERT_EQ(::pipe2(there.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(back.data(), O_CLOEXEC), 0);
  constexpr int kRounds = 5000;
  Task one = start("default:/a", [&] {
    char byte = 'x';
    pin_to(0);
    for (int i = 0; i < kRounds; i++)
      if (::write(there[1], &byte, 1) != 1 || ::read(back[0], &byte, 1) != 1) return 1;
    return ::pause();
  });
  Task two = start("default:/b", [&] {
    char byte = 0;
    pin_to(0);
    while (::read(there[0], &byte, 1) == 1 && ::write(back[1], &byte, 1) == 1) {
    }
    return 1;
  });
  EXPECT_TRUE(eventually([&] { return number("default:/b", "cpuacct.switches") >= kRounds; }));
  stop(one.process.pid());
  stop(two.process.pid());
  expect_within(usage("default:/a"), one.used(), 1000);
  expect_within(usage("default:/b"), two.used(), 1000);
}

/* Children that live for a millisecond of CPU time. What the parent's wait told of them lacks the
 * last steps of their exits, so that is a lower bound; an upper one is a little more. */
TEST_F(Cpuacct, ShortLived) {
  create("default:/a");
  const char* text = std::getenv("CTNBPF_CPU_FORKS");
  int forks = text != nullptr ? std::atoi(text) : 1000;
  Task parent = start("default:/a", [forks] {
    for (int i = 0; i < forks; i++) {
      pid_t pid = ::fork();
      if (pid == 0) {
        while (own_cpu_ns() < 1'000'000) {
        }
        ::_exit(0);
      }
      if (pid < 0 || ::waitpid(pid, nullptr, 0) != pid) ::_exit(1);
    }
    ::raise(SIGSTOP);
    return 0;
  });
  ASSERT_EQ(::waitpid(parent.process.pid(), nullptr, WUNTRACED), parent.process.pid());
  std::ifstream file(fmt::format("/proc/{}/stat", parent.process.pid()));
  std::string line;
  std::getline(file, line);
  std::istringstream words(line.substr(line.rfind(')') + 2));
  std::vector<std::string> field{std::istream_iterator<std::string>(words), {}};
  ASSERT_GT(field.size(), 14U);
  std::uint64_t ticks = std::stoull(field[13]) + std::stoull(field[14]); /* cutime, cstime */
  std::uint64_t children =
      ticks * (1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  std::uint64_t used = parent.used() + children;
  std::uint64_t charged = usage("default:/a");
  fmt::print("charged {} ns, seen by wait {} ns\n", charged, used);
  EXPECT_GE(charged + 20'000'000, used); /* the ticks are rounded */
  EXPECT_GE(charged, static_cast<std::uint64_t>(forks) * 1'000'000);
  EXPECT_LE(charged, used + static_cast<std::uint64_t>(forks) * 100'000);
  EXPECT_GE(number("default:/a", "cpuacct.switches"), static_cast<std::uint64_t>(forks));
}

/* Exactly, when all have ended: also what removed containers used. */
TEST_F(Cpuacct, TotalIsTheSumOfItsParts) {
  create("default:/a");
  for (const char* name : {"default:/a/b", "default:/a/b/c", "default:/a/d"}) create(name);
  for (const char* name : {"default:/a", "default:/a/b", "default:/a/b/c", "default:/a/d"}) {
    Task task = start(name, [] {
      burn(std::chrono::milliseconds(30));
      return 0;
    });
    EXPECT_EQ(task.process.wait(), 0);
  }
  /* The last steps of their exits may still be under way. */
  std::uint64_t before = 0;
  EXPECT_TRUE(eventually(
      [&] { return std::exchange(before, total("default:/a")) == total("default:/a"); }));
  std::uint64_t all = total("default:/a");
  std::uint64_t c = usage("default:/a/b/c");
  EXPECT_GE(c, 10'000'000U);
  EXPECT_EQ(all, usage("default:/a") + usage("default:/a/b") + c + usage("default:/a/d"));
  EXPECT_EQ(total("default:/a/b"), usage("default:/a/b") + c);
  EXPECT_EQ(number("default:/a", "cpuacct.removed"), 0U);
  remove("default:/a/b/c");
  EXPECT_EQ(number("default:/a/b", "cpuacct.removed"), c);
  EXPECT_EQ(total("default:/a"), all);
  remove("default:/a/b");
  remove("default:/a/d");
  EXPECT_EQ(number("default:/a", "cpuacct.removed"), all - usage("default:/a"));
  EXPECT_EQ(total("default:/a"), all);
  /* And when nothing holds them any more, their slots are free and used again. */
  EXPECT_TRUE(eventually([&] {
    auto writer = Writer::open(pins());
    if (!writer) return false;
    tree::sweep_lingering(*writer);
    return writer->core().lingering == 0;
  }));
  EXPECT_EQ(total("default:/a"), all);
  EXPECT_EQ(number("default:/a", "cpuacct.removed"), all - usage("default:/a"));
  create("default:/a/new");
  EXPECT_EQ(total("default:/a/new"), 0U);
  EXPECT_EQ(total("default:/a"), all);
}

/* Back and forth while it runs: each nanosecond is in one of the two. */
TEST_F(Cpuacct, MovesOfRunningTasksLoseNothing) {
  create("default:/a");
  create("default:/b");
  Task task = start("default:/a", [] {
    for (;;) burn(std::chrono::seconds(1));
    return 0;
  });
  std::uint64_t last = 0;
  for (int i = 0; i < 200; i++) {
    attach_pid(i % 2 == 0 ? "default:/b" : "default:/a", task.process.pid());
    std::uint64_t a = usage("default:/a");
    std::uint64_t b = usage("default:/b");
    ASSERT_LT(a + b, 1ULL << 40) << "negative";
    ASSERT_GE(a + b + 50'000, last); /* a settled slice is charged by the clock */
    last = a + b;
  }
  stop(task.process.pid());
  EXPECT_EQ(usage("default:/a") + usage("default:/b"), task.used());
  EXPECT_GT(usage("default:/a"), 1'000'000U);
  EXPECT_GT(usage("default:/b"), 1'000'000U);
}

/* What it used in the root is not charged when it comes, nor what it uses there after it went. */
TEST_F(Cpuacct, TimeInTheRootIsNotCharged) {
  create("default:/a");
  Background busy([] {
    for (;;) burn(std::chrono::seconds(1));
    return 0;
  });
  burn(std::chrono::milliseconds(200));
  auto came = Clock::now();
  attach_pid("default:/a", busy.pid());
  burn(std::chrono::milliseconds(50));
  attach_pid("default:/", busy.pid());
  auto went = Clock::now();
  std::uint64_t there = usage("default:/a");
  EXPECT_LE(there, static_cast<std::uint64_t>((went - came) / std::chrono::nanoseconds(1)));
  EXPECT_GT(there, 0U);
  burn(std::chrono::milliseconds(50));
  EXPECT_EQ(usage("default:/a"), there);
  attach_pid("default:/a", busy.pid());
  auto back = Clock::now();
  std::uint64_t now = usage("default:/a");
  EXPECT_LE(
      now - there,
      static_cast<std::uint64_t>((Clock::now() - back) / std::chrono::nanoseconds(1)) + 20'000'000);
}

/* A task that has its CPU for itself is seen to run, between two switches and between two ticks. */
TEST_F(Cpuacct, TheRunningSliceIsSeen) {
  create("default:/a");
  Task task = start("default:/a", [] {
    for (;;) burn(std::chrono::seconds(1));
    return 0;
  });
  std::uint64_t last = 0;
  bool grew_without_switch = eventually([&] {
    std::uint64_t switches = number("default:/a", "cpuacct.switches");
    std::uint64_t first = usage("default:/a");
    std::uint64_t second = usage("default:/a");
    EXPECT_GE(first, last);
    EXPECT_GE(second, first);
    last = second;
    return second > first && second - first < 3'000'000 &&
           number("default:/a", "cpuacct.switches") == switches;
  });
  EXPECT_TRUE(grew_without_switch);
}

/* Whoever reads at whatever moment: a figure never goes back. */
TEST_F(Cpuacct, ReadingsNeverGoBack) {
  create("default:/a");
  create("default:/a/b");
  std::vector<Task> tasks;
  for (int i = 0; i < 4; i++)
    tasks.push_back(start(i % 2 == 0 ? "default:/a" : "default:/a/b", [] {
      for (;;) ::usleep(200);
      return 0;
    }));
  Task busy = start("default:/a/b", [] {
    for (;;) burn(std::chrono::seconds(1));
    return 0;
  });
  Repeating other([&] { (void)usage("default:/a/b"); });
  std::uint64_t own = 0;
  std::uint64_t all = 0;
  std::uint64_t machine = 0;
  for (int i = 0; i < 300; i++) {
    std::uint64_t next = usage("default:/a");
    ASSERT_GE(next, own);
    own = next;
    next = total("default:/a");
    ASSERT_GE(next, all);
    all = next;
    next = total("default:/");
    ASSERT_GE(next, machine);
    machine = next;
  }
}

}  // namespace
}  // namespace ctnbpf::test
