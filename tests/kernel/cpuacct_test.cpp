/* cpuacct: exact, against what the scheduler kept of the tasks, whatever they do. */
#include <dirent.h>
#include <sys/stat.h>

#include "cpuacct/sample.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "cpuacct_test.h"

namespace ctnbpf::test {
namespace {

/* Longer where the whole promise is to be shown: CTNBPF_CPU_SECONDS=10. */
std::chrono::duration<double> busy_time() {
  const char* text = std::getenv("CTNBPF_CPU_SECONDS");
  return std::chrono::duration<double>(text != nullptr ? std::atof(text) : 0.5);
}

class Cpuacct : public CpuTest {
 protected:
  /* `tasks` busy tasks for a while; then what was charged against what they say themselves. */
  void compare_busy(int tasks) {
    create("default:/a");
    std::vector<Task> all;
    all.reserve(static_cast<std::size_t>(tasks));
    for (int i = 0; i < tasks; i++) all.push_back(start("default:/a", burn_for_ever));
    std::this_thread::sleep_for(busy_time()); /* the workload's length, nothing is awaited */
    for (const Task& task : all) ::kill(task.pid(), SIGSTOP);
    for (const Task& task : all) stop(task);
    std::uint64_t used = 0;
    for (const Task& task : all) used += task.used();
    EXPECT_GT(used, 10'000'000U);
    expect_within(usage("default:/a"), used, 1000);
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
  stop(one);
  stop(two);
  expect_within(usage("default:/a"), one.used(), 1000);
  expect_within(usage("default:/b"), two.used(), 1000);
}

/* Children that live for a millisecond of CPU time each. They are left zombies until they have been
 * compared, to the nanosecond, with their own figures. */
TEST_F(Cpuacct, ShortLived) {
  create("default:/a");
  const char* text = std::getenv("CTNBPF_CPU_FORKS");
  int forks = text != nullptr ? std::atoi(text) : 600;
  constexpr int kBatch = 200;
  std::array<int, 2> ended = {};
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe2(ended.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(go.data(), O_CLOEXEC), 0);
  Task parent = start("default:/a", [&] {
    for (int batch = 0; batch < forks / kBatch; batch++) {
      std::array<pid_t, kBatch> pids = {};
      for (pid_t& pid : pids) {
        pid = ::fork();
        if (pid == 0) {
          use_cpu(std::chrono::milliseconds(1));
          ::_exit(0);
        }
        siginfo_t info;
        if (pid < 0 || ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0)
          return 1;
      }
      char byte = 0;
      if (::write(ended[1], pids.data(), sizeof(pids)) != sizeof(pids)) return 1;
      if (::read(go[0], &byte, 1) != 1) return 1;
      for (pid_t pid : pids) ::waitpid(pid, nullptr, 0);
    }
    return ::pause();
  });
  std::uint64_t reaped = 0;
  for (int batch = 0; batch < forks / kBatch; batch++) {
    std::array<pid_t, kBatch> pids = {};
    ASSERT_EQ(::read(ended[0], pids.data(), sizeof(pids)), static_cast<ssize_t>(sizeof(pids)));
    EXPECT_TRUE(eventually([&] { return rests(parent.pid(), 'S'); }));
    std::uint64_t used = 0;
    std::uint64_t charged = 0;
    /* The last of them may still be on its way out. */
    EXPECT_TRUE(eventually([&] {
      charged = usage("default:/a");
      used = parent.used();
      for (pid_t pid : pids) used += schedstat(pid).ran;
      return charged == reaped + used;
    })) << "charged "
        << charged << " ns, the tasks used " << reaped + used << " ns";
    EXPECT_GE(used, kBatch * 1'000'000U);
    for (pid_t pid : pids) reaped += schedstat(pid).ran;
    ASSERT_EQ(::write(go[1], "g", 1), 1);
  }
  fmt::print("{} children, charged {} ns\n", forks, usage("default:/a"));
  EXPECT_GE(number("default:/a", "cpuacct.switches"), static_cast<std::uint64_t>(forks));
}

/* Born in one container and moved to another while it lives, which is less than a tick: whatever was
 * missed of it, nothing is lost and nothing counts twice. */
TEST_F(Cpuacct, ForkedMovedAndGoneWithinATick) {
  create("default:/a");
  create("default:/b");
  constexpr int kForks = 64;
  std::array<int, 2> born = {};
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe2(born.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(go.data(), O_CLOEXEC), 0);
  Task parent = start("default:/a", [&] {
    for (int i = 0; i < kForks; i++) {
      pid_t pid = ::fork();
      if (pid == 0) {
        /* Some live long enough to be caught on any machine. */
        use_cpu(std::chrono::microseconds(i % 8 == 0 ? 40'000 : 500));
        ::_exit(0);
      }
      char byte = 0;
      if (pid < 0 || ::write(born[1], &pid, sizeof(pid)) != sizeof(pid) ||
          ::read(go[0], &byte, 1) != 1)
        return 1;
    }
    return ::pause();
  });
  std::vector<pid_t> pids;
  for (int i = 0; i < kForks; i++) {
    pid_t pid = 0;
    ASSERT_EQ(::read(born[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
    pids.push_back(pid);
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    (void)attach(*writer, slot("default:/b"), pid, false); /* it may be gone: that is the point */
    ASSERT_EQ(::write(go[1], "g", 1), 1);
  }
  std::uint64_t used = 0;
  std::uint64_t charged = 0;
  EXPECT_TRUE(eventually([&] {
    charged = usage("default:/a") + usage("default:/b");
    used = parent.used();
    for (pid_t pid : pids) used += schedstat(pid).ran;
    return charged == used;
  })) << "charged "
      << charged << " ns, the tasks used " << used << " ns";
  EXPECT_GT(usage("default:/b"), 0U);
}

/* Exactly, when all have ended: also what removed containers used. */
TEST_F(Cpuacct, TotalIsTheSumOfItsParts) {
  create("default:/a");
  for (const char* name : {"default:/a/b", "default:/a/b/c", "default:/a/d"}) create(name);
  for (const char* name : {"default:/a", "default:/a/b", "default:/a/b/c", "default:/a/d"}) {
    Task task = start(name, [] {
      use_cpu(std::chrono::milliseconds(15));
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
  Task task = start("default:/a", burn_for_ever);
  std::uint64_t last = 0;
  for (int i = 0; i < 60; i++) {
    attach_pid(i % 2 == 0 ? "default:/b" : "default:/a", task.pid());
    std::uint64_t a = usage("default:/a");
    std::uint64_t b = usage("default:/b");
    ASSERT_LT(a + b, 1ULL << 40) << "negative";
    ASSERT_GE(a + b + 50'000, last); /* a settled slice is charged by the clock */
    last = a + b;
  }
  stop(task);
  EXPECT_EQ(usage("default:/a") + usage("default:/b"), task.used());
  EXPECT_GT(usage("default:/a"), 1'000'000U);
  EXPECT_GT(usage("default:/b"), 1'000'000U);
}

/* What it used in the root is not charged when it comes, nor what it uses there after it went. */
TEST_F(Cpuacct, TimeInTheRootIsNotCharged) {
  create("default:/a");
  Background busy(burn_for_ever);
  burn(std::chrono::milliseconds(200));
  auto came = Clock::now();
  attach_pid("default:/a", busy.pid());
  burn(std::chrono::milliseconds(50));
  attach_pid("default:/", busy.pid());
  auto went = Clock::now();
  std::uint64_t there = usage("default:/a");
  EXPECT_LE(there, static_cast<std::uint64_t>((went - came) / std::chrono::nanoseconds(1)));
  EXPECT_GT(there, 0U);
  burn(std::chrono::milliseconds(200));
  EXPECT_EQ(usage("default:/a"), there);
  auto back = Clock::now(); /* before the attach, in which the task comes at some time */
  attach_pid("default:/a", busy.pid());
  std::uint64_t now = usage("default:/a");
  EXPECT_LE(now - there,
            static_cast<std::uint64_t>((Clock::now() - back) / std::chrono::nanoseconds(1)));
}

/* A task that has its CPU for itself is seen to run between two switches and between two ticks: more
 * than the scheduler itself has noted a moment later. */
TEST_F(Cpuacct, TheRunningSliceIsSeen) {
  create("default:/a");
  int last_cpu =
      static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1; /* the last to be looked at */
  Task task = start("default:/a", [last_cpu] {
    pin_to(last_cpu);
    return burn_for_ever();
  });
  State now = state();
  Slot a = slot("default:/a");
  EXPECT_TRUE(eventually([&] {
    auto sample = cpuacct::Sample::take(now);
    std::uint64_t noted = task.used();
    EXPECT_TRUE(sample.has_value()) << sample.error().what;
    return sample->sum(a).usage > noted;
  }));
}

/* Everybody's share is somebody's: what containers used and what is left for the root is what the
 * machine did, and idle time is in neither. */
TEST_F(Cpuacct, RootHasTheRestAndIdleTimeIsNobodys) {
  create("default:/a");
  create("default:/a/b");
  Task task = start("default:/a/b", burn_for_ever);
  Background outside(burn_for_ever);
  /* One look: root, container, machine. */
  struct Moment {
    std::uint64_t machine, root, all;
    Clock::time_point before, after;
  };
  auto look = [&] {
    auto before = Clock::now();
    State now = state();
    auto sample = cpuacct::Sample::take(now);
    EXPECT_TRUE(sample.has_value()) << sample.error().what;
    Slot a = slot("default:/a");
    EXPECT_EQ(sample->total(0), sample->usage(0) + sample->total(a));
    return Moment{sample->total(0), sample->usage(0), sample->total(a), before, Clock::now()};
  };
  Moment first = look();
  std::uint64_t first_outside = schedstat(outside.pid()).ran;
  std::uint64_t first_task = task.used();
  std::this_thread::sleep_for(busy_time());
  std::uint64_t last_outside = schedstat(outside.pid()).ran;
  std::uint64_t last_task = task.used();
  Moment last = look();
  ::kill(outside.pid(), SIGSTOP);
  auto passed =
      static_cast<std::uint64_t>((last.after - first.before) / std::chrono::nanoseconds(1));
  auto cpus = static_cast<std::uint64_t>(::sysconf(_SC_NPROCESSORS_ONLN));
  std::uint64_t machine = last.machine - first.machine;
  fmt::print("in {} ns of {} CPUs the machine used {} ns, the container {} ns, the root {} ns\n",
             passed, cpus, machine, last.all - first.all, last.root - first.root);
  /* Where this kernel does not show what its tasks used, ticks tell of 10 ms a CPU. */
  std::uint64_t unsure = cpus * 20'000'000 + passed / 100;
  EXPECT_LE(machine, passed * cpus + unsure);
  EXPECT_GE(machine + unsure, (last_outside - first_outside) + (last_task - first_task));
  EXPECT_GE(last.root - first.root + unsure, last_outside - first_outside);
  EXPECT_GE(last.all - first.all + 8'000'000,
            last_task - first_task); /* schedstat lags by a tick */
}

/* The kernel's own account of the same tasks, beside ours. */
TEST_F(Cpuacct, BesideTheControlGroup) {
  std::ifstream mounts("/proc/mounts");
  std::string root;
  for (std::string device, at, type, rest;
       mounts >> device >> at >> type && std::getline(mounts, rest);)
    if (type == "cgroup2") root = at;
  if (root.empty()) CTN_SKIP("no cgroup2 is mounted");
  std::string group = root + "/ctnbpf-test";
  if (::mkdir(group.c_str(), 0755) != 0 && errno != EEXIST)
    CTN_SKIP("no cgroup can be made in " + root);
  auto cpu_stat = [&] {
    std::ifstream stat(group + "/cpu.stat");
    std::uint64_t microseconds = 0;
    for (std::string key; stat >> key >> microseconds && key != "usage_usec";) {
    }
    return microseconds * 1000;
  };
  create("default:/a");
  {
    std::array<int, 2> gate = {};
    ASSERT_EQ(::pipe2(gate.data(), O_CLOEXEC), 0);
    std::vector<Task> tasks;
    for (int i = 0; i < 3; i++)
      tasks.push_back(start("default:/a", [&gate, i] {
        char byte = 0;
        if (::read(gate[0], &byte, 1) != 1) return 1;
        for (;;) {
          burn(std::chrono::milliseconds(i + 1));
          if (i > 0) ::usleep(100);
        }
        return 0;
      }));
    for (const Task& task : tasks) {
      EXPECT_TRUE(eventually([&] { return rests(task.pid(), 'S'); }));
      std::ofstream(group + "/cgroup.procs") << task.pid() << std::flush;
    }
    std::uint64_t ours = usage("default:/a");
    std::uint64_t theirs = cpu_stat();
    ASSERT_EQ(::write(gate[1], "ggg", 3), 3);
    std::this_thread::sleep_for(busy_time());
    for (const Task& task : tasks) ::kill(task.pid(), SIGSTOP);
    for (const Task& task : tasks) stop(task);
    expect_within(usage("default:/a") - ours, cpu_stat() - theirs, 1000,
                  "as cpu.stat has it, the tasks");
  }
  EXPECT_TRUE(eventually([&] { return ::rmdir(group.c_str()) == 0; }));
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
  Task busy = start("default:/a/b", burn_for_ever);
  Repeating other([&] { (void)usage("default:/a/b"); });
  std::uint64_t own = 0;
  std::uint64_t all = 0;
  std::uint64_t machine = 0;
  for (int i = 0; i < 80; i++) {
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
