/* up, down, doctor. */
#include <sys/eventfd.h>

#include <set>

#include "cli_test.h"
#include "loader.h"

namespace ctnbpf::test {
namespace {

class Load : public CliTest {};

TEST_F(Load, UpIsIdempotentAndSaysWhatThereIs) {
  Output again = ctnbpf({"up"});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.out, "");
  EXPECT_EQ(again.err, std::string("ctnbpf: is up already, level ") + level_name(level()) +
                           ", room for 65536 containers\n");
}

TEST_F(Load, SizesStayWhileItIsUp) {
  EXPECT_EQ(ctnbpf({"up", "--max-containers", "65536"}).code, 0);
  fails({"up", "--max-containers", "100"}, 1, {"65536 containers", "`ctnbpf down` first"});
  fails({"up", "--max-tasks=64"}, 1, {"131072 tasks"});
  fails({"up", "--max-containers", "0"}, 2, {"--max-containers", "0 not in range 1 to"});
}

TEST_F(Load, DownAndUpAgainWithOtherSizes) {
  create("default:/a");
  Output down = ctnbpf({"down"}); /* a container without tasks does not stop it */
  EXPECT_EQ(down.code, 0) << down.err;
  EXPECT_FALSE(pins().exist());
  EXPECT_EQ(ctnbpf({"down"}).err, "ctnbpf: was not up\n");
  for (const std::vector<std::string>& one :
       {std::vector<std::string>{"tree"}, {"stat"}, {"get", "default:/"}, {"ps", "default:/"}, {"where", "1"},
        {"hierarchy", "list"}, {"subsystems"}, {"rm", "default:/a"}, {"fsck"}, {"attach", "default:/a", "1"},
        {"set", "default:/", "notify_on_release=1"}})
    fails(one, 1, {"not up (nothing is pinned in /sys/fs/bpf/ctnbpf)", "`ctnbpf up`"});
  fails_json({"tree"}, 1, "ENOENT");

  Output up = ctnbpf({"up", "--max-containers", "3", "--max-tasks", "100"});
  EXPECT_EQ(up.code, 0) << up.err;
  EXPECT_NE(up.err.find("ctnbpf: up, level "), std::string::npos) << up.err;
  out({"create", "default:/1", "default:/2", "default:/3"});
  fails({"create", "default:/4"}, 1, {"all 3 are in use", "--max-containers"});
  EXPECT_EQ(ctnbpf({"down"}).code, 0);
}

TEST_F(Load, DownWithLiveTasksWantsForce) {
  create("default:/busy");
  Background task = sleeper("default:/busy");
  fails({"down"}, 1, {"default:/busy has 1 live task", "--force"});
  fails_json({"down"}, 1, "EBUSY");
  EXPECT_TRUE(exists("default:/busy"));
  EXPECT_EQ(ctnbpf({"down", "--force"}).code, 0);
  EXPECT_FALSE(pins().exist());
  EXPECT_EQ(::kill(task.pid(), 0), 0); /* the task itself is left alone */
}

/* `create` and `run` need no `up`; `run` makes the default hierarchy when there is none at all. */
TEST_F(Load, CreateAndRunBringItUp) {
  ASSERT_EQ(ctnbpf({"down"}).code, 0);
  out({"create", "default:/a"});
  out({"hierarchy", "destroy", "default", "-r"});
  EXPECT_EQ(out({"tree"}), "");
  fails({"create", "default:/a"}, 1, {"no hierarchy or subsystem 'default'"});
  std::string said = out({"run", "sh", "-c", "\"$0\" where $$ | sed s/[0-9]*$//", ctnbpf_path()});
  EXPECT_EQ(said, bound() + ":/run-\n");
}

/* Whoever makes an own layout first does not have to take the default one away. */
TEST_F(Load, HierarchyCreateBringsUpWithoutDefaultLayout) {
  ASSERT_EQ(ctnbpf({"down"}).code, 0);
  out({"hierarchy", "create", "mine", "-o", "numtasks"});
  EXPECT_EQ(out({"tree"}), "mine (numtasks)\n");
}

TEST_F(Load, DoctorSaysHowFullTheTablesAre) {
  auto in_kernel = [] { return nlohmann::json::parse(ctnbpf({"doctor", "--json"}).out)["up"]; };
  auto before = in_kernel();
  EXPECT_EQ(before["max_tasks"], 131072);
  EXPECT_EQ(before["max_files"], 131072);
  EXPECT_TRUE(before["skipped_runs"].is_number());
  EXPECT_GT(before["memory_bytes"], 1 << 20);
  create("default:/a");
  Background task = start_in("default:/a", [] {
    if (::eventfd(0, 0) < 0) return 1;
    return ::pause();
  });
  EXPECT_TRUE(eventually([&] {
    auto now = in_kernel();
    return now["tasks"] > before["tasks"] && (level() < CTN_LEVEL_FALLBACK || now["files"] > before["files"]);
  }));
  EXPECT_NE(ctnbpf({"doctor"}).out.find(" of 131072 tasks, "), std::string::npos);
}

TEST_F(Load, DoctorSaysLevelReasonAndCure) {
  Output doctor = ctnbpf({"doctor"});
  EXPECT_EQ(doctor.code, level() == CTN_LEVEL_STRICT ? 0 : 3);
  EXPECT_TRUE(doctor.out.starts_with(std::string("level ") + level_name(level()) + ": ")) << doctor.out;
  EXPECT_NE(doctor.out.find("in the kernel: up at level"), std::string::npos) << doctor.out;
  EXPECT_EQ(doctor.out.find("for level strict: ") == std::string::npos, level() == CTN_LEVEL_STRICT);
  EXPECT_NE(doctor.out.find("tp_btf/sched_process_exit"), std::string::npos);
  EXPECT_EQ(doctor.err, "");

  Output machine = ctnbpf({"doctor", "--json"});
  EXPECT_EQ(machine.code, doctor.code);
  auto parsed = nlohmann::json::parse(machine.out);
  EXPECT_EQ(parsed["level"], level_name(level()));
  EXPECT_EQ(parsed["up"]["max_containers"], 65536);
  std::set<std::string> names;
  for (const auto& one : parsed["subsystems"]) names.insert(one["name"]);
  EXPECT_EQ(names, (std::set<std::string>{"cpuset", "memset", "cpuacct", "numtasks", "numfiles"}));
  for (const auto& hook : parsed["hooks"])
    EXPECT_EQ(hook["works"].get<bool>(), hook["reason"].get<std::string>().empty()) << hook;
  EXPECT_EQ(parsed["cure"].get<std::string>().empty(), level() == CTN_LEVEL_STRICT);
}

}  // namespace
}  // namespace ctnbpf::test
