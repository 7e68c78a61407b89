/* up, down, doctor. */
#include <bpf/bpf.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "cli_test.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/service.h"

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
  for (const std::vector<std::string>& one : {std::vector<std::string>{"tree"},
                                              {"stat"},
                                              {"get", "default:/"},
                                              {"ps", "default:/"},
                                              {"where", "1"},
                                              {"hierarchy", "list"},
                                              {"subsystems"},
                                              {"rm", "default:/a"},
                                              {"fsck"},
                                              {"attach", "default:/a", "1"},
                                              {"set", "default:/", "notify_on_release=1"}})
    fails(one, 1, {"not up (nothing is pinned in /sys/fs/bpf/ctnbpf)", "`ctnbpf up`"});
  fails_json({"tree"}, 1, "ENOENT");

  Output up = ctnbpf({"up", "--max-containers", "3", "--max-tasks", "100"});
  EXPECT_EQ(up.code, 0) << up.err;
  EXPECT_NE(up.err.find("ctnbpf: up, level "), std::string::npos) << up.err;
  out({"create", "default:/1", "default:/2", "default:/3"});
  fails({"create", "default:/4"}, 1, {"all 3 are in use", "--max-containers"});

  /* Slots that are used again have nothing of the containers before. */
  std::string fresh = out({"get", "default:/1"});
  for (const char* one : {"default:/1", "default:/2", "default:/3"}) {
    out({"set", "--best-effort", one, "notify_on_release=1", "numtasks.limit=5",
         "numtasks.forkrate=7/3", "numtasks.shares=min_shares=10,max_shares=90", "cpuset.cpus=0",
         "memset.memory_migrate=1"});
    if (find_attribute(state(), slot(one), "numfiles.held"))
      out({"set", one, "numfiles.ceiling=9"});
    EXPECT_EQ(shell(ctnbpf_path() + " run -c " + one + " sh -c '/bin/true; /bin/true'").code, 0);
    EXPECT_NE(out({"get", one}), fresh);
  }
  EXPECT_TRUE(eventually([&] {
    return ctnbpf({"rm", "default:/1", "default:/2", "default:/3"}).code == 0 ||
           !exists("default:/3");
  }));
  for (const char* one : {"default:/1", "default:/2", "default:/3"}) {
    EXPECT_TRUE(eventually([&] {
      return ctnbpf({"create", one}).code == 0;
    })) << "its tasks are being freed";
    EXPECT_EQ(out({"get", one}), fresh) << one;
  }
  EXPECT_EQ(ctnbpf({"down"}).code, 0);
}

/* Root alone comes near the state. */
TEST_F(Load, PinsAreForRootAlone) {
  create("default:/a");
  std::size_t seen = 0;
  auto mode = [](const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_uid, 0u) << path;
    return info.st_mode & 07777;
  };
  EXPECT_EQ(mode(pins().root()), 0700u);
  for (const auto& one : std::filesystem::recursive_directory_iterator(pins().root())) {
    EXPECT_EQ(mode(one.path()), one.is_directory() ? 0700u : 0600u) << one.path();
    seen++;
  }
  EXPECT_GT(seen, 20u);
}

/* After `down` the kernel has none of our programs, maps and links. */
TEST_F(Load, DownLeavesNothing) {
  auto in_kernel = [] {
    std::array<std::set<std::uint32_t>, 3> ids;
    for (std::uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) ids[0].insert(id);
    for (std::uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) ids[1].insert(id);
    for (std::uint32_t id = 0; bpf_link_get_next_id(id, &id) == 0;) ids[2].insert(id);
    return ids;
  };
  ASSERT_EQ(ctnbpf({"down"}).code, 0);
  decltype(in_kernel()) before;
  EXPECT_TRUE(eventually([&] { /* what was there goes from a work queue */
                               auto now = in_kernel();
                               return std::exchange(before, now) == now;
  }));
  EXPECT_EQ(ctnbpf({"run", "true"}).code, 0);
  auto up = in_kernel();
  EXPECT_GT(up[0].size(), before[0].size());
  EXPECT_GT(up[2].size(), before[2].size());
  ASSERT_EQ(ctnbpf({"down", "--force"}).code, 0);
  for (std::size_t kind = 0; kind < 3; kind++)
    EXPECT_TRUE(eventually([&] {
      auto now = in_kernel();
      return std::includes(before[kind].begin(), before[kind].end(), now[kind].begin(),
                           now[kind].end());
    })) << "kind "
        << kind << ": " << in_kernel()[kind].size() << " instead of " << before[kind].size();
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/cgroup/ctnbpf"));
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
  for (const auto& one : json({"subsystems"})) /* every one that this kernel supports */
    EXPECT_EQ(one["hierarchy"] == "default", one["level"] != level_name(CTN_LEVEL_NONE)) << one;
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
  EXPECT_TRUE(out({"tree"}).starts_with("mine (numtasks)"));
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
    return now["tasks"] > before["tasks"] &&
           (level() < CTN_LEVEL_FALLBACK || now["files"] > before["files"]);
  }));
  EXPECT_NE(ctnbpf({"doctor"}).out.find(" of 131072 tasks, "), std::string::npos);
}

TEST_F(Load, DoctorSaysLevelReasonAndCure) {
  Output doctor = ctnbpf({"doctor"});
  EXPECT_EQ(doctor.code, level() == CTN_LEVEL_STRICT ? 0 : 3);
  EXPECT_TRUE(doctor.out.starts_with(std::string("level ") + level_name(level()) + ": "))
      << doctor.out;
  EXPECT_NE(doctor.out.find("in the kernel: up at level"), std::string::npos) << doctor.out;
  EXPECT_EQ(doctor.out.find("for level strict: ") == std::string::npos,
            level() == CTN_LEVEL_STRICT);
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
