#include "crash.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "ctnbpf/membership.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/fsck.h"
#include "placement/groups.h"
#include "placement/kind.h"
#include "program.h"

namespace ctnbpf::test {
namespace {

int fork_once() {
  pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  return 0;
}

int open_once() {
  int fd = ::open("/proc/self", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

}  // namespace

bool in_full() { return std::getenv("CTNBPF_CRASH_ALL") != nullptr; }

namespace {

std::uint64_t from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr || in_full() ? 1 : std::max(1ULL, std::strtoull(text, nullptr, 10));
}

}  // namespace

std::uint64_t stride() { return from_environment("CTNBPF_CRASH_STRIDE"); }

void at_every_step(const std::string& name, Kills kills,
                   const std::function<Stopped(std::uint64_t stop_at)>& round) {
  std::uint64_t steps = 0;
  std::uint64_t killed = 0;
  auto few = static_cast<std::uint64_t>(kills);
  if (few == 0 || in_full()) {
    /* At the first in any case: a command may have few. */
    for (std::uint64_t step = 1, first = from_environment("CTNBPF_CRASH_FIRST");
         !::testing::Test::HasFailure(); step = step == 1 && first > 1 ? first : step + stride()) {
      Stopped stopped = round(step);
      steps = stopped.steps;
      if (!stopped.killed) break;
      killed++;
    }
  } else {
    steps = round(kNever).steps;
    few = std::min({few, steps, std::max<std::uint64_t>(few / stride(), 3)});
    for (std::uint64_t i = 0; i < few && !::testing::Test::HasFailure(); i++)
      killed += round(few == 1 ? (steps + 1) / 2 : 1 + i * (steps - 1) / (few - 1)).killed;
  }
  ::testing::Test::RecordProperty("steps", std::to_string(steps));
  std::printf("%s: killed at %lu of its %lu steps\n", name.c_str(), killed, steps);
  EXPECT_GT(killed, 0u) << "there were no steps to be killed at";
}

int run_command(const Argv& words) {
  Argv all{"ctnbpf"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  return cli::run_program(static_cast<int>(argv.size()), argv.data());
}

std::string line_of(const Argv& words) {
  std::string line = "ctnbpf";
  for (const std::string& word : words) line += " " + word;
  return line;
}

Keeper::Keeper() {
  EXPECT_EQ(::pipe2(ask_.data(), O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(answer_.data(), O_CLOEXEC), 0);
  child_.emplace([this] { return serve(); });
}

Keeper::~Keeper() {
  for (int fd : {ask_[0], ask_[1], answer_[0], answer_[1]}) ::close(fd);
}

int Keeper::try_to(char what) const {
  int error = -1;
  if (::write(ask_[1], &what, 1) != 1 || ::read(answer_[0], &error, sizeof(error)) != sizeof(error))
    return -1;
  return error;
}

int Keeper::serve() const {
  for (char what = 0; ::read(ask_[0], &what, 1) == 1;) {
    int error = what == 'f' ? fork_once() : open_once();
    if (::write(answer_[1], &error, sizeof(error)) != sizeof(error)) return 1;
  }
  return 0;
}

LoadSettings CrashTest::sizes(bool small) {
  LoadSettings wanted;
  wanted.max_containers = small ? 6 : 4096; /* large: none is used twice, and none waited for */
  wanted.max_tasks = 64;
  wanted.max_files = 512;
  wanted.default_layout = false;
  return wanted;
}

void CrashTest::SetUp() {
  KernelTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  if (hooks_go()) detach_unused_hooks();
  make_default();
  if (HasFatalFailure() || alone()) return;
  create("default:/keep");
  keeper_.emplace();
  attach_pid("default:/keep", keeper_->pid());
  if (level() >= CTN_LEVEL_FALLBACK) set("default:/keep", {"numtasks.limit=1"});
  files_ = find_attribute(state(), slot("default:/keep"), "numfiles.ceiling").has_value();
  if (files_) set("default:/keep", {"numfiles.ceiling=0"});
}

void CrashTest::TearDown() {
  keeper_.reset();
  KernelTest::TearDown();
}

Stopped CrashTest::run(const Argv& words) {
  return run_until_step(0, [&] { return run_command(words); });
}

void CrashTest::run_all(const std::vector<Argv>& commands) {
  for (const Argv& words : commands) {
    Stopped done = run(words);
    ASSERT_EQ(done.code, 0) << line_of(words) << "\n" << done.output;
  }
}

void CrashTest::expect_enforced() {
  if (!keeper_) return;
  auto tasks = walk_tasks(pins(), keeper_->pid());
  ASSERT_TRUE(tasks.has_value()) << tasks.error().what;
  ASSERT_EQ(tasks->size(), 1u);
  EXPECT_EQ(container_of((*tasks)[0], 0), slot("default:/keep"));
  EXPECT_EQ(number("default:/keep", "tasks"), 1u);
  EXPECT_EQ(number("default:/keep", "numtasks.current"), 1u);
  if (level() >= CTN_LEVEL_FALLBACK) {
    EXPECT_EQ(keeper_->try_to('f'), EAGAIN);
  }
  if (files_) {
    EXPECT_EQ(keeper_->try_to('o'), ENFILE);
  }
}

void CrashTest::expect_consistent() {
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  auto report = fsck(*writer, false);
  ASSERT_TRUE(report.has_value()) << report.error().what;
  for (const std::string& problem : report->problems) ADD_FAILURE() << "fsck: " << problem;
  for (Slot slot = 0; slot < writer->core().high_slot; slot++) {
    std::uint32_t now = writer->nodes()[slot].generation;
    if (slot >= generations_.size()) generations_.push_back(now);
    EXPECT_GE(now, generations_[slot]) << "slot " << slot << " may be taken for what it was before";
    generations_[slot] = now;
  }
}

void CrashTest::make_default() {
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  std::vector<std::string> names;
  for (const Subsystem* one : subsystems())
    if (level_of(*one, writer->core().level) != CTN_LEVEL_NONE &&
        (!cpu_free() || one->name != std::string("cpuacct")))
      names.emplace_back(one->name);
  auto made =
      tree::create_hierarchy(*writer, "default", alone() ? std::vector<std::string>() : names);
  ASSERT_TRUE(made.has_value()) << made.error().what;
  if (driver() == nullptr) return;
  std::string chosen = driver();
  auto set = set_attributes(*writer, *made,
                            {"cpuset.placement=" + chosen, "memset.placement=" + chosen}, false);
  ASSERT_TRUE(set.has_value()) << set.error().what;
}

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

void Crash::SetUp() {
  const Scenario& scenario = GetParam();
  if (scenario.driver != nullptr) {
    if (kCpus.online().count() < 2) GTEST_SKIP() << "needs 2 CPUs";
    if (scenario.driver == std::string("cgroup") && !Groups::available(Groups::Version::kV2))
      CTN_SKIP("no cpuset controller of cgroup v2");
  }
  CrashTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  if (scenario.files && !has_files()) CTN_SKIP("numfiles is not available here");
}

Stopped Crash::round(std::uint64_t stop_at) {
  const Scenario& scenario = GetParam();
  run_all(scenario.before);
  std::optional<Background> task;
  Argv command = scenario.command;
  Slot from = 0;
  if (scenario.task_in != nullptr) {
    task.emplace(start_in(scenario.task_in, [] { return ::pause(); }));
    std::replace(command.begin(), command.end(), std::string("PID"), std::to_string(task->pid()));
    from = slot(scenario.task_in);
  }
  Slot to = scenario.task_to != nullptr ? slot(scenario.task_to) : from;
  if (scenario.damage != nullptr) {
    run_until_step(0, [&] {
      auto writer = Writer::open(pins());
      if (writer) scenario.damage(*writer);
      return 0;
    });
  }
  Stopped stopped = run_until_step(
      stop_at, [&] { return run_command(command); }, in_full() ? Steps::kAll : scenario.steps);
  SCOPED_TRACE(fmt::format("{}, killed at step {}: {}", line_of(command), stop_at, stopped.last));
  if (!stopped.killed) {
    EXPECT_EQ(stopped.code, 0) << stopped.output;
  }
  expect_enforced();
  if (task) {
    expect_in_one_of(task->pid(), from, to);
    if (scenario.where != nullptr) {
      std::string now = scenario.where(task->pid());
      EXPECT_TRUE(now == scenario.at_first || now == scenario.at_last) << now;
    }
  }
  /* Whoever comes next: at every other step fsck, else the command itself; so among the odd ones too. */
  bool fsck_first = stop_at % 4 >= 2 && scenario.damage == nullptr;
  if (fsck_first) expect_consistent();
  if (stopped.killed) {
    Stopped again = run(command);
    EXPECT_TRUE(again.code == 0 || again.code == 1) << again.code << "\n" << again.output;
  }
  if (!fsck_first) expect_consistent();
  expect_enforced();
  if (scenario.there != nullptr) {
    EXPECT_TRUE(exists(scenario.there));
  }
  if (scenario.gone != nullptr) {
    EXPECT_FALSE(exists(scenario.gone));
  }
  if (task) {
    expect_in_one_of(task->pid(), to, to);
    if (scenario.where != nullptr) {
      EXPECT_EQ(scenario.where(task->pid()), scenario.at_last);
    }
  }
  task.reset();
  run_all(scenario.after);
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf")) << "a group is left behind";
  return stopped;
}

void Crash::expect_in_one_of(pid_t pid, Slot one, Slot other) {
  if (GetParam().fate == Fate::kDies) return;
  auto tasks = walk_tasks(pins(), pid);
  ASSERT_TRUE(tasks.has_value()) << tasks.error().what;
  ASSERT_EQ(tasks->size(), 1u);
  Slot at = container_of((*tasks)[0], 0);
  EXPECT_TRUE(at == one || at == other) << "slot " << at;
  State now = state();
  EXPECT_NE(now.nodes()[at].state, CTN_FREE) << "it is in a container that is gone";
  if (at >= CTN_MAX_HIER) {
    EXPECT_EQ(live_tasks(now.nodes()[at]), 1u);
  }
}

}  // namespace ctnbpf::test
