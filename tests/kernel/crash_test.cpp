/* Every command, killed at each of its steps: what holds must go on to hold, and whoever comes next
 * finds nothing wrong, nothing lost and nothing left over. Placement is in crash_placement_test.cpp, `run`
 * and `agentd` in crash_run_test.cpp, bringing up and taking down in crash_load_test.cpp. */
#include <fmt/format.h>
#include <unistd.h>

#include <set>

#include "crash.h"
#include "ctnbpf/attributes.h"
#include "program.h"

namespace ctnbpf::test {

TEST_P(Crash, AtEveryStep) {
  at_every_step(GetParam().name, GetParam().kills,
                [this](std::uint64_t stop_at) { return round(stop_at); });
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

Scenario setting(const char* name, const char* assignment, Kills kills = Kills::kEach) {
  return {.name = name,
          .before = kMakeW,
          .command = {"set", "--best-effort", "default:/w", assignment},
          .after = kRemoveW,
          .kills = kills};
}

Scenario setting_of_files(const char* name, const char* where, const char* assignment,
                          const char* back = nullptr) {
  Scenario one = {.name = name,
                  .before = kMakeW,
                  .command = {"set", where, assignment},
                  .after = kRemoveW,
                  .files = true};
  if (back != nullptr) one.after.push_back({"set", where, back});
  return one;
}

}  // namespace

std::vector<Scenario> core_scenarios() {
  return {
      {.name = "create",
       .command = {"create", "default:/w"},
       .there = "default:/w",
       .after = kRemoveW},
      {.name = "create_parents",
       .command = {"create", "-p", "default:/w/x"},
       .there = "default:/w/x",
       .after = {{"rm", "-r", "default:/w"}},
       .kills = Kills::kFew},
      {.name = "create_with_settings",
       .command = {"create", "default:/w", "-s", "notify_on_release=1", "-s", "numtasks.limit=9",
                   "--best-effort"},
       .there = "default:/w",
       .after = kRemoveW,
       .kills = Kills::kFew},
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
       .kills = Kills::kFew},
      {.name = "rm_lazy",
       .before = kMakeW,
       .command = {"rm", "--lazy", "default:/w"},
       .gone = "default:/w",
       .task_in = "default:/w"},
      {.name = "rm_with_shares",
       .before = {{"create", "default:/w", "-s", "numtasks.shares=min_shares=10", "--best-effort"}},
       .command = {"rm", "default:/w"},
       .gone = "default:/w",
       .kills = Kills::kMany},
      {.name = "rename",
       .before = kMakeW,
       .command = {"rename", "default:/w", "v"},
       .there = "default:/v",
       .gone = "default:/w",
       .after = {{"rm", "default:/v"}}},
      {.name = "chown",
       .before = kMakeW,
       .command = {"chown", "65534:65534", "default:/w"},
       .after = kRemoveW},
      setting("set_limit", "numtasks.limit=5"),
      setting("set_shares", "numtasks.shares=min_shares=10,max_shares=50", Kills::kMany),
      setting("set_forkrate", "numtasks.forkrate=10/2"),
      setting("set_forkrate_interval", "numtasks.forkrate_interval=3"),
      setting("set_notify", "notify_on_release=1"),
      setting_of_files("set_ceiling", "default:/w", "numfiles.ceiling=7"),
      setting_of_files("set_barrier", "default:/w", "numfiles.barrier=7"),
      setting_of_files("set_files_limit", "default:/w", "numfiles.limit=max"),
      setting_of_files("set_flat", "default:/", "numfiles.flat=1", "numfiles.flat=0"),
      {.name = "set_total",
       .before = {{"create", "default:/w", "-s", "numtasks.shares=min_shares=10", "--best-effort"}},
       .command = {"set", "--best-effort", "default:/", "numtasks.total_numtasks=5000"},
       .after = {{"rm", "default:/w"}, {"set", "default:/", "numtasks.total_numtasks=max"}},
       .kills = Kills::kFew},
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
      {.name = "attach_thread",
       .before = {{"create", "default:/w", "default:/v"}},
       .command = {"attach", "--thread", "default:/w", "PID"},
       .after = {{"rm", "--lazy", "default:/w", "default:/v"}},
       .task_in = "default:/v",
       .task_to = "default:/w",
       .fate = Fate::kMoves,
       .kills = Kills::kFew},
      {.name = "kill",
       .before = kMakeW,
       .command = {"kill", "default:/w"},
       .after = {{"rm", "--lazy", "default:/w"}},
       .task_in = "default:/w",
       .fate = Fate::kDies},
      {.name = "kill_recursive",
       .before = {{"create", "-p", "default:/w/x"}},
       .command = {"kill", "-r", "default:/w"},
       .after = {{"rm", "-r", "--lazy", "default:/w"}},
       .task_in = "default:/w/x",
       .fate = Fate::kDies,
       .kills = Kills::kFew},
      {.name = "hierarchy_create",
       .command = {"hierarchy", "create", "h", "-o", "cpuacct"},
       .there = "h:/",
       .after = {{"hierarchy", "destroy", "h"}},
       .cpu_free = true},
      {.name = "hierarchy_destroy",
       .before = {{"hierarchy", "create", "h", "-o", "cpuacct"},
                  {"create", "h:/x"},
                  {"rm", "h:/x"}},
       .command = {"hierarchy", "destroy", "h"},
       .gone = "h:/",
       .cpu_free = true},
      {.name = "hierarchy_destroy_recursive",
       .before = {{"hierarchy", "create", "h", "-o", "cpuacct"}, {"create", "-p", "h:/x/y"}},
       .command = {"hierarchy", "destroy", "-r", "h"},
       .gone = "h:/",
       .cpu_free = true,
       .kills = Kills::kFew},
      /* Those with few containers are together, as each change of sizes loads anew. */
      {.name = "create_when_all_slots_were_used",
       .before = {{"create", "default:/a", "default:/b", "default:/c", "default:/d", "default:/e"},
                  {"rm", "default:/a", "default:/b", "default:/c", "default:/d", "default:/e"}},
       .command = {"create", "default:/w"},
       .there = "default:/w",
       .after = kRemoveW,
       .steps = Steps::kSystemCalls,
       .small = true},
      {.name = "fsck_repair",
       .command = {"fsck", "--repair"},
       .damage = [](Writer& writer) { writer.core().containers++; },
       .steps = Steps::kSystemCalls,
       .small = true},
      {.name = "fsck_repair_of_counters",
       .command = {"fsck", "--repair"},
       .damage = miscount,
       .small = true,
       .kills = Kills::kFew}, /* each round looks many times, and waits for grace periods */
      {.name = "what_comes_after_a_kill",
       .command = {"set", "--best-effort", "default:/keep", "numtasks.limit=1"},
       .damage = leave_half_done,
       .small = true},
  };
}

namespace {

INSTANTIATE_TEST_SUITE_P(Commands, Crash, ::testing::ValuesIn(core_scenarios()),
                         [](const auto& one) { return std::string(one.param.name); });

/* No command and no attribute that can be set is without a test that kills it. */
TEST(CrashCoverage, EveryCommandAndAttribute) {
  const std::set<std::string> only_read = {
      "tree",   "stat",  "get",      "ps",  "where",    "explain", "files", "subsystems", "events",
      "doctor", "debug", "exporter", "top", "complete", "man",     "save",  "import",     "mount"};
  const std::set<std::string> have_their_own = {"run",      "up",         "down",  "agentd",
                                                "oci-hook", "slurm-hook", "apply", "exec"};
  std::set<std::string> commands;
  std::set<std::string> attributes;
  std::vector<Scenario> all = core_scenarios();
  for (const Scenario& one : placement_scenarios()) all.push_back(one);
  for (const Scenario& one : all) {
    commands.insert(one.command[0]);
    for (const std::string& word : one.command)
      if (auto equals = word.find('='); equals != std::string::npos)
        attributes.insert(word.substr(0, equals));
  }
  for (const std::string& one : cli::command_names())
    EXPECT_EQ(commands.count(one) + only_read.count(one) + have_their_own.count(one), 1u) << one;
  std::vector<AttributeRef> settable = core_attributes();
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& one : subsystem->attributes)
      settable.push_back({subsystem, &one, fmt::format("{}.{}", subsystem->name, one.name)});
  for (const AttributeRef& one : settable)
    if (one.attribute->prepare != nullptr) {
      EXPECT_TRUE(attributes.contains(one.full_name)) << one.full_name;
    }
}

}  // namespace
}  // namespace ctnbpf::test
