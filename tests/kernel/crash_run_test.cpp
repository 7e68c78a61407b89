/* What goes on for longer than a change of the state, killed at each of its steps: `run`, `agentd`, and what
 * stays of a removed container. */
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "crash.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/agentd.h"
#include "ctnbpf/removed.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::test {
namespace {

/* Tombstones and what lingers of one address, each seen once. */
std::vector<Removed> removed_from(const State& state, const std::string& address) {
  auto all = removed_containers(state);
  EXPECT_TRUE(all.has_value());
  std::vector<Removed> out;
  for (Removed& one : *all)
    if (one.address == address) out.push_back(std::move(one));
  return out;
}

/* The last figures of a removed container are kept once, whole, wherever its removal is cut short. */
TEST_F(CrashTest, RmLeavesOneTombstoneAtEveryStep) {
  const Argv command = {"rm", "default:/t"};
  std::size_t tombs = 0;
  at_every_step("rm with a tombstone", Kills::kEach, [&](std::uint64_t step) {
    run_all({{"create", "default:/t"}, {"run", "-c", "default:/t", "--", "/bin/true"}});
    std::uint64_t created = state().infos()[slot("default:/t")].created_ns;
    Stopped stopped = run_until_step(step, [&] { return run_command(command); });
    SCOPED_TRACE(fmt::format("rm, killed at step {}: {}", step, stopped.last));
    expect_enforced();
    if (step % 2 == 0) expect_consistent();
    if (exists("default:/t")) run_all({command});
    /* Its task's record goes some time after the task. */
    EXPECT_TRUE(eventually([&] {
      auto writer = Writer::open(pins());
      if (writer) tree::sweep_lingering(*writer);
      return load(state().core().lingering) == 0;
    }));
    auto left = removed_from(state(), "default:/t");
    EXPECT_EQ(left.size(), ++tombs);
    if (left.empty()) return stopped;
    EXPECT_EQ(left.back().created_ns, created);
    EXPECT_FALSE(left.back().lingering);
    auto tasks = std::find_if(
        left.back().parts.begin(), left.back().parts.end(),
        [](const auto& part) { return part.subsystem->name == std::string("numtasks"); });
    EXPECT_NE(tasks, left.back().parts.end());
    if (tasks != left.back().parts.end()) {
      EXPECT_EQ(tasks->figures->peak, 1u);
      EXPECT_EQ(tasks->figures->current, 0u);
    }
    expect_consistent();
    return stopped;
  });
}

/* `run`: a killed one leaves at most its container, empty as soon as COMMAND has ended, to whoever
 * sweeps; COMMAND ends by itself if it had not begun. */
TEST_F(CrashTest, RunAtEveryStep) {
  const Argv command = {"run", "--name", "r", "-s", "notify_on_release=1", "--", "/bin/true"};
  at_every_step("run", Kills::kEach, [&](std::uint64_t step) {
    Stopped stopped = run_until_step(
        step, [&] { return run_command(command); }, in_full() ? Steps::kAll : Steps::kSystemCalls);
    SCOPED_TRACE(fmt::format("run, killed at step {}: {}", step, stopped.last));
    if (!stopped.killed) {
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
    return stopped;
  });
}

/* `oci-hook`: a runtime whose hook was killed ends what it wanted to start; what the hook made goes with that. */
TEST_F(CrashTest, OciHookAtEveryStep) {
  std::string name = (std::filesystem::temp_directory_path() / "ctnbpf-crash-XXXXXX").string();
  UniqueFd state_file(::mkstemp(name.data()));
  ASSERT_TRUE(state_file.valid());
  ::unlink(name.c_str());
  at_every_step("oci-hook", Kills::kMany, [&](std::uint64_t step) {
    Background process([] { return ::pause(); });
    std::string text = fmt::format(
        R"({{"id":"o","status":"creating","pid":{},"annotations":{{"ctnbpf.numtasks":"9","ctnbpf.best-effort":"true"}}}})",
        process.pid());
    EXPECT_EQ(::ftruncate(state_file.get(), 0), 0);
    EXPECT_EQ(::pwrite(state_file.get(), text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
    Stopped stopped = run_until_step(step, [&] {
      ::lseek(state_file.get(), 0, SEEK_SET);
      ::dup2(state_file.get(), STDIN_FILENO);
      return run_command({"oci-hook"});
    });
    SCOPED_TRACE(fmt::format("oci-hook, killed at step {}: {}", step, stopped.last));
    if (!stopped.killed) {
      EXPECT_EQ(stopped.code, 0) << stopped.output;
      EXPECT_TRUE(exists("default:/oci/o"));
      EXPECT_EQ(number("default:/oci/o", "tasks"), 1u);
    }
    expect_enforced();
    process.signal(SIGKILL);
    process.wait();
    Stopped next = run({"run", "--", "/bin/true"});
    EXPECT_EQ(next.code, 0) << next.output;
    EXPECT_FALSE(exists("default:/oci/o")) << "a run sweeps what a killed one left";
    expect_consistent();
    return stopped;
  });
}

/* `slurm-hook begin`: likewise of the slurmstepd that it was for. */
TEST_F(CrashTest, SlurmHookAtEveryStep) {
  at_every_step("slurm-hook", Kills::kFew, [&](std::uint64_t step) {
    Background process([] { return ::pause(); });
    const std::string pid = std::to_string(process.pid());
    Stopped stopped = run_until_step(step, [&] {
      return run_command({"slurm-hook", "begin", "--job=1", "--step=0", "--stepd=" + pid,
                          "--conf=best-effort", "--ask=numtasks=9", pid});
    });
    SCOPED_TRACE(fmt::format("slurm-hook, killed at step {}: {}", step, stopped.last));
    if (!stopped.killed) {
      EXPECT_EQ(stopped.code, 0) << stopped.output;
      EXPECT_EQ(number("default:/slurm/job_1/step_0", "tasks"), 1u);
    }
    expect_enforced();
    process.signal(SIGKILL);
    process.wait();
    Stopped next = run({"run", "--", "/bin/true"});
    EXPECT_EQ(next.code, 0) << next.output;
    EXPECT_FALSE(exists("default:/slurm/job_1")) << "a run sweeps what a killed one left";
    expect_consistent();
    return stopped;
  });
}

/* agentd from its start until it has dealt with what happened while it was down: each release is told
 * by at least one run of the agent, whatever agentd died of, and by more than one only where it died
 * between starting the agent and noting it. */
TEST_F(CrashTest, AgentdAtEveryStep) {
  std::string name = (std::filesystem::temp_directory_path() / "ctnbpf-crash-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const std::string agent = name + "/agent";
  const std::string log = name + "/log";
  std::ofstream(agent) << "#!/bin/sh\necho $1 >>" << log << "\n";
  ::chmod(agent.c_str(), 0700);
  auto runs_for = [&](const std::string& path) {
    std::ifstream in(log);
    std::int64_t count = 0;
    for (std::string line; std::getline(in, line);) count += line == path;
    return count;
  };
  /* It has been told to end before it begins. */
  auto sweep = [&] {
    int stop = ::eventfd(1, EFD_CLOEXEC);
    auto done = serve_releases(
        pins(), stop, [] {}, [](const std::string&) {});
    return done ? 0 : 1;
  };
  set("default:/", {"release_agent=" + agent});
  std::vector<std::string> paths;
  at_every_step("agentd", Kills::kEach, [&](std::uint64_t step) {
    std::string path = paths.emplace_back(fmt::format("/{}", paths.size()));
    create("default:" + path, {"notify_on_release=1"});
    start_in("default:" + path, [] { return 0; }).wait();
    Slot at = slot("default:" + path);
    EXPECT_EQ(load(state().nodes()[at].releases), state().infos()[at].announced + 1);
    Stopped stopped = run_until_step(step, sweep);
    SCOPED_TRACE(fmt::format("agentd, killed at step {}: {}", step, stopped.last));
    if (!stopped.killed) {
      EXPECT_EQ(stopped.code, 0) << stopped.output;
    }
    expect_enforced();
    Stopped again = run_until_step(0, sweep);
    EXPECT_EQ(again.code, 0) << again.output;
    EXPECT_EQ(load(state().nodes()[at].releases), state().infos()[at].announced);
    EXPECT_TRUE(eventually([&] { return runs_for(path) > 0; })) << "a release is lost";
    expect_consistent();
    return stopped;
  });
  std::int64_t doubled = 0;
  for (const std::string& path : paths) doubled += runs_for(path) - 1;
  EXPECT_LE(doubled, 1);
  set("default:/", {"release_agent="});
  std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace ctnbpf::test
