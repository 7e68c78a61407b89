/* What the tests share that kill a command at each of its steps (steps.h): the fixture, and scenarios.
 *
 * A scenario is run again and again, the command being killed at its first step, its second ... until
 * it gets through, so no step is left out. What costs too much for every day is killed at some steps
 * then, from the first to the last, and at all in the long form (CTNBPF_CRASH_ALL). ctnbpf is
 * brought up small here, as each store of a rebuilding counts as a step too. */
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernel_test.h"
#include "steps.h"

namespace ctnbpf::test {

using Argv = std::vector<std::string>;

/* The long form: each command at each step. In the short one some commands are killed at a few steps,
 * or at system calls and not at stores: those that repeat what others do by the same functions. */
bool in_full();
/* Every how manieth step, from CTNBPF_CRASH_FIRST on (CTNBPF_CRASH_STRIDE; 1): the steps are those of the
 * command, not of the kernel, so what one kernel leaves out another does. */
std::uint64_t stride();

/* How often a command is killed in the short form. */
enum class Kills : unsigned { kEach = 0, kOnce = 1, kThree = 3, kFew = 8, kMany = 40 };
/* Has `round` kill a command at its first step, its second ... until it gets through; where it is not
 * kEach, in the short form, at so many. Says how often it was. */
void at_every_step(const std::string& name, Kills kills,
                   const std::function<Stopped(std::uint64_t stop_at)>& round);

/* The command in this process: its exit status. */
int run_command(const Argv& words);
std::string line_of(const Argv& words);

/* A process that forks, or opens a file, when told to, and says how that went. */
class Keeper {
 public:
  Keeper();
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  pid_t pid() const { return child_->pid(); }
  /* errno of a fork ('f') or an open ('o'); 0: it worked. */
  int try_to(char what) const;

 private:
  int serve() const;

  std::array<int, 2> ask_ = {};
  std::array<int, 2> answer_ = {};
  std::optional<Background> child_;
};

/* ctnbpf with one hierarchy `default`, and in default:/keep a task that its limits keep from forking
 * and opening. */
class CrashTest : public KernelTest {
 protected:
  void SetUp() override;
  void TearDown() override;
  LoadSettings settings() const override { return sizes(small()); }
  static LoadSettings sizes(bool small);

  virtual bool alone() const { return false; } /* without default:/keep */
  /* Do hooks come and go with the commands? Where default:/keep does not hold all of them. */
  virtual bool hooks_go() const { return alone() || cpu_free(); }
  virtual bool small() const {
    return false;
  } /* with few containers, so that a rebuilding has few steps */
  virtual bool cpu_free() const { return false; } /* cpuacct is bound to nothing */
  virtual const char* driver() const {
    return nullptr;
  } /* of placement; null: the one chosen by itself */

  /* Without stopping it. */
  static Stopped run(const Argv& words);
  static void run_all(const std::vector<Argv>& commands);

  /* What holds with no writer at work and none having come since: the container of the live task is
   * there, the task is in it, its limits refuse. */
  void expect_enforced();
  /* Whoever opens the state for writing finds, or has made, all of it right. */
  void expect_consistent();

  bool has_files() const { return files_; } /* is numfiles there? */

  std::optional<Keeper> keeper_;

 private:
  void make_default();

  bool files_ = false;
  std::vector<std::uint32_t> generations_; /* by slot, as last seen */
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
  Kills kills = Kills::kEach;
  bool files = false; /* needs numfiles */
  /* Of placement. */
  const char* driver = nullptr;
  std::string (*where)(pid_t pid) = nullptr; /* what its task may use, which is */
  std::string at_first = {};                 /* ... this before */
  std::string at_last = {};                  /* ... and this after; in between one of the two */
};

void PrintTo(const Scenario& scenario, std::ostream* out);

std::vector<Scenario> core_scenarios();
std::vector<Scenario> placement_scenarios();

/* Its one test, AtEveryStep, is in crash_test.cpp: of the scenarios of the core and of placement. */
class Crash : public CrashTest, public ::testing::WithParamInterface<Scenario> {
 protected:
  void SetUp() override;
  bool alone() const override { return GetParam().alone; }
  bool small() const override { return GetParam().small; }
  bool cpu_free() const override { return GetParam().cpu_free; }
  const char* driver() const override { return GetParam().driver; }

  Stopped round(std::uint64_t stop_at);

 private:
  void expect_in_one_of(pid_t pid, Slot one, Slot other);
};

}  // namespace ctnbpf::test
