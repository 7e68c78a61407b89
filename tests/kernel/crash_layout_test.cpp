/* `apply` and `exec`, killed at each of their steps. */
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/kernel_machine.h"
#include "config/toml.h"
#include "crash.h"
#include "layout/commands.h"

namespace ctnbpf::test {
namespace {

class CrashLayout : public CrashTest {
 protected:
  std::string saved() const {
    auto layout = config::read_layout(state());
    EXPECT_TRUE(layout.has_value());
    return layout ? config::to_toml(*layout) : "";
  }
};

/* What was done stays, whole; the next `apply` does the rest. */
TEST_F(CrashLayout, ApplyAtEveryStep) {
  const std::string file = std::filesystem::temp_directory_path() / "ctnbpf-crash.toml";
  std::ofstream(file) << "[\"more:/\"]\nsubsystems = []\nnotify_on_release = 1\n[\"more:/a/b\"]\n"
                         "[\"default:/w/x\"]\nnumtasks.limit = 7\ncpuset.cpus = '0'\n"
                         "[\"default:/w\"]\nnumtasks.limit = 9\nnumtasks.forkrate = '5/3'\n";
  cli::Context context;
  layout::ApplyOptions options;
  options.files = {file};
  options.best_effort = true;
  auto apply = [&] { return layout::apply(context, options); };
  const std::string before = saved();
  std::string whole;
  at_every_step("apply", Kills::kMany, [&](std::uint64_t step) {
    Stopped stopped = run_until_step(step, apply);
    SCOPED_TRACE(fmt::format("apply, killed at step {}: {}", step, stopped.last));
    expect_enforced();
    EXPECT_EQ(apply(), 0);
    if (whole.empty()) whole = saved();
    EXPECT_EQ(saved(), whole);
    if (step % 4 == 0 || !stopped.killed) expect_consistent();
    run_all({{"rm", "-r", "default:/w"}, {"hierarchy", "destroy", "-r", "more"}});
    EXPECT_EQ(saved(), before);
    return stopped;
  });
  EXPECT_NE(whole.find("numtasks.forkrate_interval = 3"), std::string::npos) << whole;
  std::filesystem::remove(file);
}

/* A process that is killed on its way into a container is gone from it. */
TEST_F(CrashLayout, ExecAtEveryStep) {
  run_all({{"create", "default:/t"}});
  at_every_step("exec", Kills::kFew, [&](std::uint64_t step) {
    Stopped stopped = run_until_step(step, [] {
      return run_command(
          {"exec", "--best-effort", "default:/t", "-s", "numtasks.limit=5", "--", "/bin/true"});
    });
    SCOPED_TRACE(fmt::format("exec, killed at step {}: {}", step, stopped.last));
    expect_enforced();
    EXPECT_TRUE(eventually([&] { return live_tasks(state().nodes()[slot("default:/t")]) == 0; }));
    if (!stopped.killed) {
      EXPECT_EQ(stopped.code, 0);
    }
    if (step % 4 == 0) expect_consistent();
    run_all({{"set", "default:/t", "numtasks.limit=max"}});
    return stopped;
  });
}

}  // namespace
}  // namespace ctnbpf::test
