/* slurm-hook, as the SPANK plugin calls it; with real Slurm in tests/engines. */
#include <signal.h>
#include <unistd.h>

#include <optional>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class SlurmHook : public CliTest {
 protected:
  /* Before it is looked whether anything is left. */
  void TearDown() override {
    task_.reset();
    CliTest::TearDown();
  }

  using Words = std::vector<std::string>;
  Words words(const std::string& what, const std::string& step, const Words& more) {
    Words all{"slurm-hook",
              what,
              "--job=7",
              "--step=" + step,
              "--stepd=" + std::to_string(stepd_->pid()),
              "--conf=best-effort"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static void works(const Words& all, const std::string& says = "") {
    Output said = ctnbpf(all);
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_EQ(said.out, "");
    EXPECT_NE(said.err.find(says), std::string::npos) << said.err;
    if (says.empty()) {
      EXPECT_EQ(said.err.starts_with("ctnbpf: note: ") ? "" : said.err, "");
    }
  }
  void begin(const std::string& step, Words more = {}) {
    more.push_back(std::to_string(task_->pid()));
    works(words("begin", step, more));
  }
  void refused(Words more, const Words& says) {
    more.push_back(std::to_string(task_->pid()));
    fails(words("begin", "0", more), 1, says);
    EXPECT_EQ(out({"where", std::to_string(task_->pid())}), bound() + ":/\n");
    EXPECT_FALSE(exists("default:/slurm/job_7"));
  }
  static void finish(Background& process) {
    process.signal(SIGKILL);
    process.wait();
  }

  std::optional<Background> stepd_{std::in_place, [] { return ::pause(); }};
  std::optional<Background> task_{std::in_place, [] { return ::pause(); }};
};

TEST_F(SlurmHook, TasksAreInTheStepsContainerAndFiguresStay) {
  Background second([] { return ::pause(); });
  begin("0", {"--ask=numtasks=5", "--conf=job-numtasks=9", std::to_string(second.pid())});
  EXPECT_EQ(out({"where", std::to_string(task_->pid())}), bound() + ":/slurm/job_7/step_0\n");
  EXPECT_EQ(out({"where", std::to_string(second.pid())}), bound() + ":/slurm/job_7/step_0\n");
  EXPECT_EQ(out({"get", "-n", "default:/slurm/job_7/step_0", "numtasks.limit"}), "5\n");
  EXPECT_EQ(out({"get", "-n", "default:/slurm/job_7", "numtasks.limit"}), "9\n");
  task_.reset();
  finish(second);
  works(words("end", "0", {"--stat"}), "default:/slurm/job_7/step_0  ");
  EXPECT_FALSE(exists("default:/slurm/job_7"));
  EXPECT_EQ(json({"stat", "--removed", "default:/slurm/job_7/step_0"}).back()["numtasks"]["peak"],
            2);
}

/* The job's container is there as long as one of its steps is. */
TEST_F(SlurmHook, StepsInParallelAreInOneJob) {
  Background other([] { return ::pause(); });
  begin("batch");
  works(words("begin", "0", {std::to_string(other.pid())}));
  works(words("end", "batch", {}));
  EXPECT_TRUE(exists("default:/slurm/job_7/step_0"));
  EXPECT_FALSE(exists("default:/slurm/job_7/step_batch")); /* its task lives: it lingers */
  works(words("end", "0", {"--conf=stat"}), "default:/slurm/job_7  ");
  EXPECT_FALSE(exists("default:/slurm/job_7"));
}

/* Two slurmd on one machine, or what a killed slurmstepd left. */
TEST_F(SlurmHook, AStepWhoseNameIsTakenGetsTheNext) {
  Background other_stepd([] { return ::pause(); });
  Background other([] { return ::pause(); });
  begin("0");
  auto theirs = [&](const std::string& what, const Words& more) {
    Words all{"slurm-hook", what, "--job=7", "--step=0",
              "--stepd=" + std::to_string(other_stepd.pid())};
    all.insert(all.end(), more.begin(), more.end());
    works(all);
  };
  theirs("begin", {std::to_string(other.pid())});
  EXPECT_EQ(out({"where", std::to_string(other.pid())}), bound() + ":/slurm/job_7/step_0-2\n");
  works(words("end", "0", {}));
  EXPECT_TRUE(exists("default:/slurm/job_7/step_0-2")) << "each slurmstepd ends its own";
  theirs("end", {});
  EXPECT_FALSE(exists("default:/slurm/job_7"));
}

/* Its failure stops the step; nothing is left of it. */
TEST_F(SlurmHook, FailsClosed) {
  refused({"--conf=numtasks=5", "--ask=numtasks=6"}, {"step 7.0", "--ctn-numtasks=6", "is 5"});
  refused({"--conf=numtask=5"}, {"plugstack.conf", "did you mean `numtasks`?"});
  refused({"--conf=numtasks=many"}, {"'many'"});
  refused({"--conf=container=default:/nowhere"}, {"nowhere"});
  refused({"999999999"}, {"999999999"});
  fails(words("begin", "0", {}), 2, {"PID"});
  fails({"slurm-hook"}, 2, {"slurm-hook"});
}

TEST_F(SlurmHook, BelowTheContainerThatIsNamed) {
  create("default:/jobs");
  begin("0", {"--conf=container=default:/jobs"});
  EXPECT_EQ(out({"where", std::to_string(task_->pid())}), bound() + ":/jobs/job_7/step_0\n");
  works(words("end", "0", {"--conf=container=default:/jobs"}));
  EXPECT_FALSE(exists("default:/jobs/job_7"));
}

TEST_F(SlurmHook, WhatAKilledStepdLeavesGoesWithItsTasks) {
  begin("0");
  stepd_.reset();
  EXPECT_EQ(out({"run", "true"}), "");
  EXPECT_TRUE(exists("default:/slurm/job_7/step_0")) << "its task lives";
  task_.reset();
  EXPECT_EQ(out({"run", "true"}), "");
  EXPECT_FALSE(exists("default:/slurm/job_7"));
}

}  // namespace
}  // namespace ctnbpf::test
