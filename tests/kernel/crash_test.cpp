/* Every command, killed at each of its steps: what holds must go on to hold, and whoever comes next
 * finds nothing wrong, nothing lost and nothing left over. Placement is in crash_placement_test.cpp,
 * bringing up and taking down in crash_load_test.cpp. */
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "crash.h"
#include "ctnbpf/removed.h"

namespace ctnbpf::test {

TEST_P(Crash, AtEveryStep) {
  if (GetParam().repeats && !in_full()) return;
  std::uint64_t step = 1;
  while (round(step) && !HasFailure()) step++;
  RecordProperty("steps", static_cast<int>(step) - 1);
  std::printf("%s: killed at each of its %lu steps\n", GetParam().name,
              static_cast<unsigned long>(step) - 1);
  EXPECT_GT(step, 1u) << "there were no steps to be killed at";
}

namespace {

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
  std::uint64_t step = 1;
  for (bool killed = true; killed && !HasFailure(); step++) {
    run_all({{"create", "default:/t"}, {"run", "-c", "default:/t", "--", "/bin/true"}});
    std::uint64_t created = state().infos()[slot("default:/t")].created_ns;
    Stopped stopped = run_until_step(step, [&] { return run_command(command); });
    SCOPED_TRACE(fmt::format("rm, killed at step {}: {}", step, stopped.last));
    killed = stopped.killed;
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
    ASSERT_EQ(left.size(), step);
    EXPECT_EQ(left.back().created_ns, created);
    EXPECT_FALSE(left.back().lingering);
    auto tasks = std::find_if(
        left.back().parts.begin(), left.back().parts.end(),
        [](const auto& part) { return part.subsystem->name == std::string("numtasks"); });
    ASSERT_NE(tasks, left.back().parts.end());
    EXPECT_EQ(tasks->figures->peak, 1u);
    EXPECT_EQ(tasks->figures->current, 0u);
    expect_consistent();
  }
  std::printf("rm with a tombstone: killed at each of its %lu steps\n",
              static_cast<unsigned long>(step) - 2);
}

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

}  // namespace
}  // namespace ctnbpf::test
