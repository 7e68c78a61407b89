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
#include "pinning.h"
#include "program.h"
#include "steps.h"

namespace ctnbpf::test {
namespace {

using Argv = std::vector<std::string>;

/* The long form: each command at each step. The short one leaves out those commands, and in some the
 * stores, that only repeat what others do by the same functions. */
bool in_full() { return std::getenv("CTNBPF_CRASH_ALL") != nullptr; }

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

/* What a scenario's own task is to have gone through. */
enum class Fate { kStays, kMoves, kDies };

/* One command, and what it works on. */
struct Scenario {
  const char* name;
  std::vector<Argv> before = {}; /* what sets it up */
  Argv command = {};             /* "PID": a task of its own, made anew each time */
  const char* there = nullptr;   /* address that exists once it is done */
  const char* gone = nullptr;    /* address that does not */
  std::vector<Argv> after = {};  /* takes away what is left of it */
  const char* task_in = nullptr; /* where its task is before */
  const char* task_to = nullptr; /* and after, if it moves */
  Fate fate = Fate::kStays;
  void (*damage)(Writer& writer) = nullptr; /* done before, by hand */
  Steps steps = Steps::kAll;
  bool alone = false;    /* no other container, so that hooks come and go with the command */
  bool cpu_free = false; /* cpuacct is bound to nothing */
  bool small = false;    /* with few containers, so that a rebuilding has few steps */
  bool repeats = false;  /* what others do: left out of the short form */
};

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

class CrashTest : public KernelTest {
 protected:
  static void SetUpTestSuite() { (void)take_down(Pins(kDefaultPinRoot), true); }
  static void TearDownTestSuite() { (void)take_down(Pins(kDefaultPinRoot), true); }

  virtual bool alone() const { return false; }
  virtual bool small() const { return false; }
  virtual bool cpu_free() const { return false; }

  LoadSettings settings() const override {
    LoadSettings wanted;
    wanted.max_containers = small() ? 6 : 4096; /* large: none is used twice, and none waited for */
    wanted.max_tasks = 64;
    wanted.max_files = 512;
    wanted.default_layout = false;
    return wanted;
  }

  void SetUp() override {
    if (auto old = State::open(pins());
        old && old->core().max_containers != settings().max_containers)
      (void)take_down(pins(), true);
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    detach_unused_hooks();
    make_default();
    if (HasFatalFailure() || alone()) return;
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

  void expect_consistent() {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto report = fsck(*writer, false);
    ASSERT_TRUE(report.has_value()) << report.error().what;
    for (const std::string& problem : report->problems) ADD_FAILURE() << "fsck: " << problem;
    for (Slot slot = 0; slot < writer->core().high_slot; slot++) {
      std::uint32_t now = writer->nodes()[slot].generation;
      if (slot >= generations_.size()) generations_.push_back(now);
      EXPECT_GE(now, generations_[slot])
          << "slot " << slot << " may be taken for what it was before";
      generations_[slot] = now;
    }
  }

  std::optional<Keeper> keeper_;

 private:
  void make_default() {
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
  }

  bool files_ = false;
  std::vector<std::uint32_t> generations_; /* by slot, as last seen */
};

class Crash : public CrashTest, public ::testing::WithParamInterface<Scenario> {
 protected:
  bool alone() const override { return GetParam().alone; }
  bool small() const override { return GetParam().small; }
  bool cpu_free() const override { return GetParam().cpu_free; }

  /* One round; false when the command got through. */
  bool round(std::uint64_t stop_at) {
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
    if (task) expect_in_one_of(task->pid(), from, to);
    /* Whoever comes next: at every other step fsck, else the command itself. */
    bool fsck_first = stop_at % 2 == 0 && scenario.damage == nullptr;
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
    if (task) expect_in_one_of(task->pid(), to, to);
    task.reset();
    run_all(scenario.after);
    return stopped.killed;
  }

  void expect_in_one_of(pid_t pid, Slot one, Slot other) {
    if (GetParam().fate == Fate::kDies) return;
    auto tasks = walk_tasks(pins(), pid);
    ASSERT_TRUE(tasks.has_value()) << tasks.error().what;
    ASSERT_EQ(tasks->size(), 1u);
    Slot at = container_of((*tasks)[0], 0);
    EXPECT_TRUE(at == one || at == other) << "slot " << at;
    State now = state();
    EXPECT_NE(now.nodes()[at].state, CTN_FREE) << "it is in a container that is gone";
    EXPECT_EQ(live_tasks(now.nodes()[at]), 1u);
  }
};

TEST_P(Crash, AtEveryStep) {
  if (GetParam().repeats && !in_full()) return;
  std::uint64_t step = 1;
  while (round(step) && !HasFailure()) step++;
  RecordProperty("steps", static_cast<int>(step) - 1);
  std::printf("%s: killed at each of its %lu steps\n", GetParam().name,
              static_cast<unsigned long>(step) - 1);
  EXPECT_GT(step, 1u) << "there were no steps to be killed at";
}

/* What a kill leaves: the mark of a writer at work, and what is derived half made. Ends the process. */
void leave_half_done(Writer& writer) {
  for (std::uint64_t& head : writer.name_index()) store(head, std::uint64_t{0});
  writer.nodes()[0].children = 7;
  writer.core().free_list = 0;
  writer.core().containers = 99;
  ::_exit(0);
}

/* Counted state that is wrong. */
void miscount(Writer& writer) {
  Slot keep = *tree::find(writer, "default:/keep");
  writer.nodes()[keep].population += CTN_ONE_RECORD;
  writer.nodes()[keep].refs++;
}

const std::vector<Argv> kMakeW = {{"create", "default:/w"}};
const std::vector<Argv> kRemoveW = {{"rm", "default:/w"}};

Scenario setting(const char* name, const char* assignment) {
  return {.name = name,
          .before = kMakeW,
          .command = {"set", "--best-effort", "default:/w", assignment},
          .after = kRemoveW};
}

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
    {.name = "create_when_all_slots_were_used",
     .before = {{"create", "default:/a", "default:/b", "default:/c", "default:/d", "default:/e"},
                {"rm", "default:/a", "default:/b", "default:/c", "default:/d", "default:/e"}},
     .command = {"create", "default:/w"},
     .there = "default:/w",
     .after = kRemoveW,
     .steps = Steps::kSystemCalls,
     .small = true},
    {.name = "create_the_first", /* with its hooks */
     .command = {"create", "default:/w"},
     .there = "default:/w",
     .after = {{"rm", "default:/w"},
               {"hierarchy", "destroy", "default"},
               {"hierarchy", "create", "default"}},
     .steps = Steps::kSystemCalls,
     .alone = true},
    {.name = "rm", .before = kMakeW, .command = {"rm", "default:/w"}, .gone = "default:/w"},
    {.name = "rm_that_tells",
     .before = {{"create", "-p", "default:/w", "-s", "notify_on_release=1"},
                {"create", "default:/w/x"}},
     .command = {"rm", "default:/w/x"},
     .gone = "default:/w/x",
     .after = kRemoveW},
    {.name = "rm_recursive",
     .before = {{"create", "-p", "default:/w/x", "default:/w/y"}},
     .command = {"rm", "-r", "default:/w"},
     .gone = "default:/w",
     .repeats = true},
    {.name = "rm_lazy",
     .before = kMakeW,
     .command = {"rm", "--lazy", "default:/w"},
     .gone = "default:/w",
     .task_in = "default:/w"},
    {.name = "rm_with_shares",
     .before = {{"create", "default:/w", "-s", "numtasks.shares=min_shares=10", "--best-effort"}},
     .command = {"rm", "default:/w"},
     .gone = "default:/w"},
    {.name = "rename",
     .before = kMakeW,
     .command = {"rename", "default:/w", "v"},
     .there = "default:/v",
     .gone = "default:/w",
     .after = {{"rm", "default:/v"}}},
    setting("set_limit", "numtasks.limit=5"),
    setting("set_shares", "numtasks.shares=min_shares=10,max_shares=50"),
    setting("set_forkrate", "numtasks.forkrate=10/2"),
    setting("set_notify", "notify_on_release=1"),
    {.name = "set_agent",
     .command = {"set", "default:/", "release_agent=/bin/true"},
     .after = {{"set", "default:/", "release_agent="}}},
    {.name = "attach",
     .before = {{"create", "default:/w", "default:/v"}},
     .command = {"attach", "default:/w", "PID"},
     .after = {{"rm", "--lazy", "default:/w", "default:/v"}},
     .task_in = "default:/v",
     .task_to = "default:/w",
     .fate = Fate::kMoves},
    {.name = "attach_tree",
     .before = {{"create", "default:/w", "default:/v"}},
     .command = {"attach", "--tree", "default:/w", "PID"},
     .after = {{"rm", "--lazy", "default:/w", "default:/v"}},
     .task_in = "default:/v",
     .task_to = "default:/w",
     .fate = Fate::kMoves},
    {.name = "kill",
     .before = kMakeW,
     .command = {"kill", "default:/w"},
     .after = {{"rm", "--lazy", "default:/w"}},
     .task_in = "default:/w",
     .fate = Fate::kDies},
    {.name = "hierarchy_create",
     .command = {"hierarchy", "create", "h", "-o", "cpuacct"},
     .there = "h:/",
     .after = {{"hierarchy", "destroy", "h"}},
     .cpu_free = true},
    {.name = "hierarchy_destroy",
     .before = {{"hierarchy", "create", "h", "-o", "cpuacct"}, {"create", "h:/x"}, {"rm", "h:/x"}},
     .command = {"hierarchy", "destroy", "h"},
     .gone = "h:/",
     .cpu_free = true},
    {.name = "fsck_repair",
     .command = {"fsck", "--repair"},
     .damage = [](Writer& writer) { writer.core().containers++; },
     .steps = Steps::kSystemCalls,
     .small = true},
    {.name = "fsck_repair_of_counters",
     .command = {"fsck", "--repair"},
     .damage = miscount,
     .small = true,
     .repeats = true}, /* each round looks many times, and waits for grace periods */
    {.name = "what_comes_after_a_kill",
     .command = {"set", "--best-effort", "default:/keep", "numtasks.limit=1"},
     .damage = leave_half_done,
     .small = true},
};

INSTANTIATE_TEST_SUITE_P(Commands, Crash, ::testing::ValuesIn(kScenarios),
                         [](const auto& one) { return std::string(one.param.name); });

/* `run`: a killed one leaves at most its container, empty as soon as COMMAND has ended, to whoever
 * sweeps; COMMAND ends by itself if it had not begun. */
TEST_F(CrashTest, RunAtEveryStep) {
  const Argv command = {"run", "--name", "r", "-s", "notify_on_release=1", "--", "/bin/true"};
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    Stopped stopped = run_until_step(
        step, [&] { return run_command(command); }, in_full() ? Steps::kAll : Steps::kSystemCalls);
    SCOPED_TRACE(fmt::format("run, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    if (!killed) {
      EXPECT_EQ(stopped.code, 0) << stopped.output;
    }
    expect_enforced();
    /* Its child may be dying still. */
    EXPECT_TRUE(
        eventually([&] { return !exists("default:/r") || number("default:/r", "tasks") == 0; }));
    Stopped again = run(command);
    EXPECT_EQ(again.code, 0) << again.output;
    EXPECT_FALSE(exists("default:/r"))
        << "a run sweeps what a killed one left, and leaves nothing itself";
    expect_consistent();
    expect_enforced();
  }
  std::printf("run: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

class CrashLoad : public CrashTest {
 protected:
  bool alone() const override { return true; }
  void SetUp() override {
    CrashTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    (void)take_down(pins(), true);
  }
  void TearDown() override { (void)take_down(pins(), true); }

  static bool any_pins() {
    return std::filesystem::exists(kDefaultPinRoot) ||
           std::filesystem::exists(std::string(kDefaultPinRoot) + "-new") ||
           std::filesystem::exists(std::string(kDefaultPinRoot) + "-old");
  }
  /* Hierarchy, container, hooks; the maps of an earlier round have the first two still. */
  void use() {
    if (exists("default:/w"))
      run_all({{"fsck", "--repair"}});
    else
      run_all({{"hierarchy", "create", "default"}, {"create", "default:/w"}});
    EXPECT_FALSE(std::filesystem::is_empty(std::string(kDefaultPinRoot) + "/links"));
  }
};

/* Everything or nothing is in place, and whoever comes next has it all. */
TEST_F(CrashLoad, PinningAtEveryStep) {
  auto loaded = Loaded::load(settings());
  ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
  auto pin = [&] { return remove_left_over_pins(pins()) && loaded->pin(pins()) ? 0 : 1; };
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    Stopped stopped = run_until_step(step, pin);
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    if (!pins().exist()) {
      EXPECT_TRUE(killed);
      EXPECT_EQ(run_until_step(0, pin).code, 0);
    }
    EXPECT_TRUE(State::open(pins()).has_value());
    EXPECT_TRUE(left_over_pins(pins()).empty());
    std::filesystem::remove_all(pins().root());
  }
  std::printf("pinning: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

TEST_F(CrashLoad, DownAtEveryStep) {
  auto loaded = Loaded::load(settings());
  ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    ASSERT_TRUE(loaded->pin(pins()).has_value());
    use();
    Stopped stopped = run_until_step(step, [] { return run_command({"down"}); });
    SCOPED_TRACE(fmt::format("down, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
  }
  std::printf("down: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

/* Probes and loads each time: minutes. */
TEST_F(CrashLoad, UpAtEveryStep) {
  if (!in_full()) return;
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    Stopped stopped = run_until_step(step, [] { return run_command({"up"}); });
    SCOPED_TRACE(fmt::format("up, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
    EXPECT_EQ(run({"up"}).code, 0);
    EXPECT_EQ(run({"fsck"}).code, 0);
    EXPECT_EQ(run({"down"}).code, 0);
    EXPECT_FALSE(any_pins());
  }
  std::printf("up: killed at each of its %lu steps\n", static_cast<unsigned long>(step) - 2);
}

}  // namespace
}  // namespace ctnbpf::test
