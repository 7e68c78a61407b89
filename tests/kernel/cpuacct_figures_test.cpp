/* cpuacct: the figures besides usage and total, each against the kernel's own of the same tasks. */
#include <map>
#include <sstream>

#include "cpuacct/cpuacct.h"
#include "cpuacct_test.h"

namespace ctnbpf::test {
namespace {

class CpuacctFigures : public CpuTest {
 protected:
  std::vector<std::uint64_t> per_cpu(const std::string& address) {
    std::istringstream words(text(address, "cpuacct.usage_percpu"));
    std::vector<std::uint64_t> out;
    for (std::uint64_t one = 0; words >> one;) out.push_back(one);
    return out;
  }

  /* By "<16384", ..., ">=2097152". */
  std::map<std::string, std::uint64_t> slices(const std::string& address) {
    std::istringstream words(text(address, "cpuacct.slices"));
    std::map<std::string, std::uint64_t> out;
    std::uint64_t count = 0;
    for (std::string bound, comma; words >> bound >> count; std::getline(words, comma, ','))
      out[bound] = count;
    return out;
  }

  /* In ns, as /proc/PID/stat has it. */
  static std::uint64_t system_time_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    std::istringstream words(line.substr(line.rfind(')') + 1));
    constexpr int kField = 15; /* the first word here is field 3 */
    std::string word;
    for (int field = 3; field <= kField; field++) words >> word;
    return std::stoull(word) * (1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  }

  /* Times it was switched away from. */
  static std::uint64_t switches_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/status", pid));
    std::uint64_t all = 0;
    for (std::string line; std::getline(file, line);)
      if (line.find("ctxt_switches:") != std::string::npos)
        all += std::stoull(line.substr(line.find(':') + 1));
    return all;
  }
};

TEST_F(CpuacctFigures, UsagePerCpu) {
  create("default:/a");
  int cpu = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  cpu_set_t everywhere;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(everywhere), &everywhere), 0);
  pin_to(cpu); /* and so the child, from its first instruction on */
  Task task = start("default:/a", [] {
    use_cpu(std::chrono::milliseconds(100));
    return ::pause();
  });
  ::sched_setaffinity(0, sizeof(everywhere), &everywhere);
  EXPECT_TRUE(eventually([&] { return task.used() > 50'000'000 && rests(task.pid(), 'S'); }));
  stop(task);
  auto cpus = per_cpu("default:/a");
  ASSERT_EQ(cpus.size(), state().core().cpus);
  std::uint64_t all = 0;
  for (std::uint64_t one : cpus) all += one;
  EXPECT_EQ(all, usage("default:/a"));
  EXPECT_EQ(all, task.used());
  EXPECT_EQ(cpus[static_cast<std::size_t>(cpu)], all);
}

/* As many as the kernel counts for the task, by length in the histogram. */
TEST_F(CpuacctFigures, SwitchesAndSlices) {
  create("default:/a");
  std::array<int, 2> there = {};
  std::array<int, 2> back = {};
  ASSERT_EQ(::pipe2(there.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(back.data(), O_CLOEXEC), 0);
  constexpr int kSleeps = 300;
  Task task = start("default:/a", [&] {
    char byte = 0;
    if (::read(there[0], &byte, 1) != 1) return 1;
    for (int i = 0; i < kSleeps; i++) ::usleep(500); /* a slow machine wakes before it slept less */
    burn(std::chrono::milliseconds(60)); /* a long slice, where nobody else wants the CPU */
    if (::write(back[1], &byte, 1) != 1) return 1;
    return ::pause();
  });
  EXPECT_TRUE(eventually([&] { return rests(task.pid(), 'S'); }));
  std::uint64_t before = switches_of(task.pid()) - number("default:/a", "cpuacct.switches");
  char byte = 't';
  ASSERT_EQ(::write(there[1], &byte, 1), 1);
  ASSERT_EQ(::read(back[0], &byte, 1), 1);
  EXPECT_TRUE(eventually([&] { return rests(task.pid(), 'S'); }));
  stop(task);
  std::uint64_t switches = number("default:/a", "cpuacct.switches");
  EXPECT_EQ(switches, switches_of(task.pid()) - before);
  EXPECT_GE(switches, std::uint64_t{kSleeps});
  auto lengths = slices("default:/a");
  ASSERT_EQ(lengths.size(), static_cast<std::size_t>(CPUACCT_BUCKETS));
  std::uint64_t all = 0;
  std::uint64_t longer = 0;
  for (const auto& [bound, count] : lengths) {
    all += count;
    if (bound == ">=2097152" || bound == "<2097152" || bound == "<1048576") longer += count;
  }
  EXPECT_EQ(all, switches);
  EXPECT_GE(longer, 1U) << text("default:/a", "cpuacct.slices");
}

/* As the kernel's tick has it, which only samples: of a task that never calls the kernel, and of one
 * that does little else. */
TEST_F(CpuacctFigures, UserAndSystem) {
  create("default:/user");
  create("default:/system");
  Task user = start("default:/user", [] {
    for (;;) asm volatile("");
    return 0;
  });
  Task system = start("default:/system", [] {
    std::vector<char> buffer(1 << 20);
    int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    while (::read(zero, buffer.data(), buffer.size()) > 0) {
    }
    return 1;
  });
  EXPECT_TRUE(eventually([&] { return user.used() > 300'000'000 && system.used() > 300'000'000; }));
  stop(user);
  stop(system);
  for (const char* name : {"default:/user", "default:/system"})
    EXPECT_EQ(number(name, "cpuacct.user") + number(name, "cpuacct.system"), usage(name));
  /* The kernel splits by the same ticks; it shows hundredths of a second. */
  for (const auto& [name, task] :
       {std::pair("default:/user", &user), std::pair("default:/system", &system)}) {
    std::uint64_t theirs = system_time_of(task->pid());
    std::uint64_t ours = number(name, "cpuacct.system");
    fmt::print("{}: {} ns in the kernel of {}, {} as /proc has it\n", name, ours, usage(name),
               theirs);
    EXPECT_LE(std::max(ours, theirs) - std::min(ours, theirs), usage(name) / 10 + 20'000'000);
  }
  EXPECT_GT(number("default:/user", "cpuacct.user"), 0U);
  EXPECT_GT(number("default:/system", "cpuacct.system"), 0U);
}

/* Two that want the same CPU: what each waited, as the scheduler has it, but for less than 1024 ns. */
TEST_F(CpuacctFigures, Wait) {
  create("default:/a");
  std::vector<Task> tasks;
  for (int i = 0; i < 2; i++)
    tasks.push_back(start("default:/a", [] {
      pin_to(0);
      return burn_for_ever();
    }));
  EXPECT_TRUE(
      eventually([&] { return tasks[0].waited() > 50'000'000 && tasks[1].waited() > 50'000'000; }));
  for (const Task& task : tasks) stop(task);
  std::uint64_t waited = tasks[0].waited() + tasks[1].waited();
  std::uint64_t charged = number("default:/a", "cpuacct.wait");
  EXPECT_LE(charged, waited + 4 * 1024);
  /* Since it was stopped a task may have been waiting once more; that is charged when it runs. */
  EXPECT_GE(charged + waited / 100 + 4 * 1024, waited);
  fmt::print("waited {} ns, charged {} ns\n", waited, charged);
}

/* Nothing until a window of 10 s ends; then what was used in it. */
TEST_F(CpuacctFigures, LoadIsThatOfTheLastFullWindow) {
  create("default:/a");
  create("default:/a/b");
  Task task = start("default:/a/b", [] {
    pin_to(0);
    return burn_for_ever();
  });
  EXPECT_EQ(number("default:/a", "cpuacct.load"), 0U);
  std::uint64_t low = 0;
  std::uint64_t load = 0;
  EXPECT_TRUE(eventually(
      [&] {
        if (usage("default:/a/b") < 500'000'000)
          return false; /* less may be no percent that shows */
        std::uint64_t now = usage("default:/a/b");
        load = number("default:/a", "cpuacct.load");
        if (load == 0) low = now;
        return load != 0;
      },
      std::chrono::seconds(25)));
  std::uint64_t high = usage("default:/a/b");
  fmt::print("load {} %, used {} to {} ns when the window ended\n", load, low, high);
  EXPECT_GE(load * 100'000'000 + 100'000'000, low);
  EXPECT_LE(load * 100'000'000, high + 100'000'000);
  EXPECT_EQ(number("default:/a/b", "cpuacct.load"), load);
}

/* A CPU goes and comes back under busy tasks. For a machine of the test's own. */
TEST_F(CpuacctFigures, CpusComeAndGo) {
  const std::string switch_file = "/sys/devices/system/cpu/cpu1/online";
  if (std::getenv("CTNBPF_MAY_OFFLINE_CPUS") == nullptr || ::access(switch_file.c_str(), W_OK) != 0)
    GTEST_SKIP() << "takes a CPU away: only with CTNBPF_MAY_OFFLINE_CPUS and a second CPU";
  auto online = [&](const char* value) {
    std::ofstream file(switch_file);
    file << value << std::flush;
    EXPECT_TRUE(file.good()) << value;
  };
  create("default:/a");
  std::vector<Task> tasks;
  for (int i = 0; i < 3; i++) tasks.push_back(start("default:/a", burn_for_ever));
  auto runs_on = [&](std::uint64_t ns) {
    std::uint64_t from = usage("default:/a");
    return eventually([&] { return usage("default:/a") >= from + ns; });
  };
  EXPECT_TRUE(runs_on(50'000'000));
  std::uint64_t with = usage("default:/a");
  online("0");
  std::uint64_t without = usage("default:/a");
  EXPECT_GE(without, with);
  EXPECT_TRUE(runs_on(50'000'000));
  EXPECT_EQ(per_cpu("default:/a").size(), state().core().cpus);
  online("1");
  EXPECT_GE(usage("default:/a"), without);
  std::uint64_t second = per_cpu("default:/a")[1];
  EXPECT_TRUE(eventually([&] { return per_cpu("default:/a")[1] > second; }));
  for (const Task& task : tasks) stop(task);
  std::uint64_t used = 0;
  for (const Task& task : tasks) used += task.used();
  EXPECT_EQ(usage("default:/a"), used);
}

}  // namespace
}  // namespace ctnbpf::test
