/* Every command, killed at each of its steps: what holds must go on to hold, and whoever comes next
 * finds nothing wrong, nothing lost and nothing left over.
 *
 * A scenario is run again and again, the command being killed at its first step, its second ... until
 * it gets through, so no step is left out. ctnbpf is brought up small here, as each store of a
 * rebuilding counts as a step too. */
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "ctnbpf/fsck.h"
#include "kernel_test.h"
#include "program.h"
#include "steps.h"

namespace ctnbpf::test {
namespace {

using Argv = std::vector<std::string>;

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

/* A member of default:/keep that forks, or opens a file, when told to, and says how that went. */
class Keeper {
 public:
  Keeper() {
    EXPECT_EQ(::pipe2(ask_.data(), O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(answer_.data(), O_CLOEXEC), 0);
    child_.emplace([this] { return serve(); });
  }
  ~Keeper() {
    for (int fd : {ask_[0], ask_[1], answer_[0], answer_[1]}) ::close(fd);
  }
  pid_t pid() const { return child_->pid(); }
  /* errno of a fork ('f') or an open ('o'); 0: it worked. */
  int try_to(char what) const {
    int error = -1;
    if (::write(ask_[1], &what, 1) != 1 ||
        ::read(answer_[0], &error, sizeof(error)) != sizeof(error))
      return -1;
    return error;
  }

 private:
  int serve() const {
    for (char what = 0; ::read(ask_[0], &what, 1) == 1;) {
      int error = what == 'f' ? fork_once() : open_once();
      if (::write(answer_[1], &error, sizeof(error)) != sizeof(error)) return 1;
    }
    return 0;
  }
  static int fork_once() {
    pid_t pid = ::fork();
    if (pid < 0) return errno;
    if (pid == 0) ::_exit(0);
    ::waitpid(pid, nullptr, 0);
    return 0;
  }
  static int open_once() {
    int fd = ::open("/proc/self", O_PATH | O_CLOEXEC);
    if (fd < 0) return errno;
    ::close(fd);
    return 0;
  }

  std::array<int, 2> ask_ = {};
  std::array<int, 2> answer_ = {};
  std::optional<Background> child_;
};

/* One command, and what it works on. */
struct Scenario {
  const char* name;
  std::vector<Argv> before = {}; /* what sets it up */
  Argv command;                  /* "PID": a task of its own, made anew each time */
  const char* there = nullptr;   /* address that exists once it is done */
  const char* gone = nullptr;    /* address that does not */
  std::vector<Argv> after = {};  /* takes away what is left of it */
  const char* task_in = nullptr; /* where its task is before */
  const char* task_to = nullptr; /* and after */
  bool repeats = false;          /* what others do: left out of the short form */
};

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

class CrashTest : public KernelTest {
 protected:
  static void SetUpTestSuite() { (void)take_down(Pins(kDefaultPinRoot), true); }
  static void TearDownTestSuite() { (void)take_down(Pins(kDefaultPinRoot), true); }

  LoadSettings settings() const override {
    LoadSettings small;
    small.max_containers = 4096; /* the wait for a used slot to be free is that of Small */
    small.max_tasks = 512;
    small.max_files = 512;
    return small;
  }

  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    create("default:/keep");
    keeper_.emplace();
    attach_pid("default:/keep", keeper_->pid());
    if (level() >= CTN_LEVEL_FALLBACK) set("default:/keep", {"numtasks.limit=1"});
    files_ = find_attribute(state(), slot("default:/keep"), "numfiles.ceiling").has_value();
    if (files_) set("default:/keep", {"numfiles.ceiling=0"});
  }
  void TearDown() override {
    keeper_.reset();
    KernelTest::TearDown();
  }

  /* Without stopping it. */
  static Stopped run(const Argv& words) {
    return run_until_step(0, [&] { return run_command(words); });
  }
  void run_all(const std::vector<Argv>& commands) {
    for (const Argv& words : commands) {
      Stopped done = run(words);
      ASSERT_EQ(done.code, 0) << line_of(words) << "\n" << done.output;
    }
  }

  /* What holds with no writer at work and none having come since: the container of the live task is
   * there, the task is in it, its limits refuse. */
  void expect_enforced() {
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

  void expect_consistent() {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto report = fsck(*writer, false);
    ASSERT_TRUE(report.has_value()) << report.error().what;
    for (const std::string& problem : report->problems) ADD_FAILURE() << "fsck: " << problem;
  }

  bool files() const { return files_; }
  std::optional<Keeper> keeper_;

 private:
  bool files_ = false;
};

class Crash : public CrashTest, public ::testing::WithParamInterface<Scenario> {
 protected:
  /* One round; false when the command got through. */
  bool round(std::uint64_t stop_at) {
    const Scenario& scenario = GetParam();
    run_all(scenario.before);
    std::optional<Background> task;
    Argv command = scenario.command;
    if (scenario.task_in != nullptr) {
      task.emplace(start_in(scenario.task_in, [] { return ::pause(); }));
      std::replace(command.begin(), command.end(), std::string("PID"), std::to_string(task->pid()));
    }
    Stopped stopped = run_until_step(stop_at, [&] { return run_command(command); });
    SCOPED_TRACE(fmt::format("{}, killed at step {}: {}", line_of(command), stop_at, stopped.last));
    if (!stopped.killed) {
      EXPECT_EQ(stopped.code, 0) << stopped.output;
    }
    expect_enforced();
    if (task && scenario.task_to != nullptr)
      expect_in_one_of(task->pid(), scenario.task_in, scenario.task_to);
    /* Whoever comes next: at every other step fsck, else the command itself. */
    bool fsck_first = stop_at % 2 == 0;
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
    if (task && scenario.task_to != nullptr)
      expect_in_one_of(task->pid(), scenario.task_to, scenario.task_to);
    task.reset();
    run_all(scenario.after);
    return stopped.killed;
  }

  void expect_in_one_of(pid_t pid, const char* one, const char* other) {
    auto tasks = walk_tasks(pins(), pid);
    ASSERT_TRUE(tasks.has_value()) << tasks.error().what;
    ASSERT_EQ(tasks->size(), 1u);
    Slot at = container_of((*tasks)[0], 0);
    EXPECT_TRUE(at == slot(one) || at == slot(other)) << tree::address_of(state(), at);
  }
};

TEST_P(Crash, AtEveryStep) {
  if (GetParam().repeats && std::getenv("CTNBPF_CRASH_ALL") == nullptr) return;
  std::uint64_t step = 1;
  while (round(step) && !HasFailure()) step++;
  RecordProperty("steps", static_cast<int>(step) - 1);
  std::printf("%s: killed at each of its %lu steps\n", GetParam().name,
              static_cast<unsigned long>(step) - 1);
  EXPECT_GT(step, 2u) << "there were no steps to be killed at";
}

const std::vector<Argv> kMakeW = {{"create", "default:/w"}};
const std::vector<Argv> kRemoveW = {{"rm", "default:/w"}};

const Scenario kScenarios[] = {
    {.name = "create",
     .command = {"create", "default:/w"},
     .there = "default:/w",
     .after = kRemoveW},
    {.name = "create_parents",
     .command = {"create", "-p", "default:/w/x"},
     .there = "default:/w/x",
     .after = {{"rm", "-r", "default:/w"}},
     .repeats = true},
    {.name = "rm", .before = kMakeW, .command = {"rm", "default:/w"}, .gone = "default:/w"},
    {.name = "rm_recursive",
     .before = {{"create", "-p", "default:/w/x", "default:/w/y"}},
     .command = {"rm", "-r", "default:/w"},
     .gone = "default:/w"},
    {.name = "rename",
     .before = kMakeW,
     .command = {"rename", "default:/w", "v"},
     .there = "default:/v",
     .gone = "default:/w",
     .after = {{"rm", "default:/v"}}},
    {.name = "set_limit",
     .before = kMakeW,
     .command = {"set", "--best-effort", "default:/w", "numtasks.limit=5"},
     .after = kRemoveW},
    {.name = "attach",
     .before = {{"create", "default:/w", "default:/v"}},
     .command = {"attach", "default:/w", "PID"},
     .after = {{"rm", "--lazy", "default:/w", "default:/v"}},
     .task_in = "default:/v",
     .task_to = "default:/w"},
};

INSTANTIATE_TEST_SUITE_P(Commands, Crash, ::testing::ValuesIn(kScenarios),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace ctnbpf::test
