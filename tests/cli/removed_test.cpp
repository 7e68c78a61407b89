/* stat --removed, and what a parent's figures keep of removed children. */
#include <sys/wait.h>

#include "cli_test.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Removed : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    timespec now = {};
    ::clock_gettime(CLOCK_REALTIME, &now);
    start_ns_ = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                static_cast<std::uint64_t>(now.tv_nsec);
  }

  /* `stat --removed ARGS`, oldest first; tombstones of earlier tests are there as well and left out. */
  std::vector<nlohmann::json> tombs(std::vector<std::string> args) const {
    args.insert(args.begin(), {"stat", "--removed"});
    std::vector<nlohmann::json> found;
    for (const nlohmann::json& one : json(args))
      if (one["created_ns"].get<std::uint64_t>() >= start_ns_) found.push_back(one);
    return found;
  }

  /* Until no task of `address` is left that could still use CPU time: a task that has been reaped may
   * be on its way out of its CPU. */
  void settle(const std::string& address) {
    EXPECT_TRUE(eventually([&] {
      free_dead_tasks();
      return task_records(state().nodes()[slot(address)]) == 0;
    }));
  }
  void burn(const std::string& address) {
    start_in(address, [] {
      timespec used = {};
      while (used.tv_sec == 0 && used.tv_nsec < 50'000'000)
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
      Sleepers three(3);
      three.end();
      return 0;
    }).wait();
    settle(address);
  }

 private:
  std::uint64_t start_ns_ = 0;
};

TEST_F(Removed, FinalFiguresStay) {
  create("default:/grave");
  create("default:/grave/once");
  burn("default:/grave/once");
  std::uint64_t used = number("default:/grave/once", "cpuacct.usage");
  EXPECT_GE(used, 50'000'000u);
  std::uint64_t peak = number("default:/grave/once", "numtasks.peak");
  EXPECT_EQ(peak, 4u);
  out({"rm", "default:/grave/once"});
  auto found = tombs({"numtasks:/grave/once"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]["container"], "default:/grave/once");
  EXPECT_EQ(found[0]["numtasks"]["peak"], peak);
  EXPECT_EQ(found[0]["numtasks"]["current"], 0);
  EXPECT_EQ(found[0]["numtasks"]["limit"], "max");
  EXPECT_EQ(found[0]["cpuacct"]["usage"], used);
  EXPECT_EQ(found[0]["cpuacct"]["total"], used);
  EXPECT_GE(found[0]["removed_ns"].get<std::uint64_t>(),
            found[0]["created_ns"].get<std::uint64_t>());
  std::string table = out({"stat", "--removed", "default:/grave/once"});
  EXPECT_EQ(table.find("container        "), 0u) << table;
  EXPECT_NE(table.find("\ndefault:/grave/once"), std::string::npos) << table;
  std::string csv = out({"stat", "--removed", "--format", "csv", "default:/grave/once"});
  EXPECT_EQ(csv.find("container,created_ns,removed_ns,lingering,"), 0u) << csv;

  /* The same name again is another container, and has a tombstone of its own. */
  create("default:/grave/once");
  out({"rm", "default:/grave/once"});
  found = tombs({"default:/grave/once"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0]["cpuacct"]["usage"], used);
  EXPECT_EQ(found[1]["cpuacct"]["usage"], 0);
  EXPECT_EQ(tombs({"-r", "default:/grave"}).size(), 2u);
  EXPECT_EQ(tombs({"default:/grave"}).size(), 0u);
}

/* As `stat` shows it, in seconds; programs get what is kept. */
TEST_F(Removed, TablesShowSeconds) {
  create("default:/grave");
  burn("default:/grave");
  std::uint64_t used = number("default:/grave", "cpuacct.total");
  out({"rm", "default:/grave"});
  std::string table = out({"stat", "--removed", "default:/grave"});
  table.pop_back();
  std::string line = table.substr(table.rfind('\n') + 1);
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), " %.2f ", static_cast<double>(used) / 1e9);
  EXPECT_NE((line + " ").find(seconds), std::string::npos) << seconds << "\n" << table;
  EXPECT_EQ(line.find(std::to_string(used)), std::string::npos) << table;
  std::string csv = out({"stat", "--removed", "--format", "csv", "default:/grave"});
  EXPECT_NE(csv.find("," + std::to_string(used)), std::string::npos) << csv;
}

/* A container that is gone is known by its slot and generation: what the clock says is no matter. */
TEST_F(Removed, AClockThatIsSetBackHidesNoName) {
  if (std::getenv("CTNBPF_MAY_OFFLINE_CPUS") == nullptr)
    GTEST_SKIP() << "would set this machine's clock; CTNBPF_MAY_OFFLINE_CPUS=1 allows it";
  auto set_clock = [](std::time_t seconds) {
    timespec now = {};
    ::clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += seconds;
    return ::clock_settime(CLOCK_REALTIME, &now);
  };
  create("default:/gone");
  {
    Background task = sleeper("default:/gone");
    out({"rm", "--lazy", "default:/gone"});
  }
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return tombs({"default:/gone"})[0]["lingering"] == false;
  }));
  out({"fsck", "--repair"}); /* frees it */
  ASSERT_EQ(set_clock(-3600), 0);
  std::string events = out({"events"});
  EXPECT_EQ(set_clock(3600), 0);
  EXPECT_NE(events.find("default:/gone (removed)"), std::string::npos) << events;
}

/* One that lingers shows what it has now; when it is gone its tombstone says the same. */
TEST_F(Removed, LingeringOnesAreShownToo) {
  create("default:/lazy");
  {
    Background task = sleeper("default:/lazy");
    out({"rm", "--lazy", "default:/lazy"});
    auto found = tombs({"default:/lazy"});
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0]["lingering"], true);
    EXPECT_EQ(found[0]["numtasks"]["current"], 1);
    auto doctor = nlohmann::json::parse(ctnbpf({"doctor", "--json"}).out);
    EXPECT_EQ(doctor["up"]["lingering"], 1);
  }
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return tombs({"default:/lazy"})[0]["lingering"] == false;
  }));
  out({"fsck", "--repair"}); /* frees it, so that what is shown next is a tombstone */
  auto found = tombs({"default:/lazy"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]["numtasks"]["current"], 0);
  EXPECT_EQ(found[0]["numtasks"]["peak"], 1);
}

TEST_F(Removed, TheLastThousandAndTwentyFourStay) {
  create("default:/many");
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    Slot many = *tree::find(*writer, "default:/many");
    for (int i = 0; i < CTN_TOMBS + 10; i++) {
      auto made = tree::create(*writer, many, std::to_string(i));
      ASSERT_TRUE(made.has_value()) << made.error().what;
      ASSERT_TRUE(tree::remove(*writer, *made, false).has_value());
    }
  }
  auto all = json({"stat", "--removed"});
  ASSERT_EQ(all.size(), std::size_t{CTN_TOMBS});
  for (int i = 0; i < CTN_TOMBS; i++)
    EXPECT_EQ(all[static_cast<std::size_t>(i)]["container"],
              "default:/many/" + std::to_string(i + 10));
}

/* A path that is too long for a tombstone keeps its end; one that a failed command made has none. */
TEST_F(Removed, LongPathsAndUndoneCreations) {
  std::string name(255, 'n');
  std::string path = "default:/" + name + "/" + name + "/" + name + "/last";
  out({"create", "-p", path});
  out({"rm", path});
  auto all = json({"stat", "--removed"});
  ASSERT_FALSE(all.empty());
  auto address = all.back()["container"].get<std::string>();
  EXPECT_EQ(address.find("default:..."), 0u) << address;
  EXPECT_TRUE(address.ends_with("n/last")) << address;
  EXPECT_EQ(ctnbpf({"create", "default:/never", "-s", "nosuch=1"}).code, 1);
  EXPECT_TRUE(tombs({"default:/never"}).empty());
}

TEST_F(Removed, AParentsFiguresNeverDropBecauseAChildWent) {
  create("default:/p");
  create("default:/p/c");
  create("default:/p/c/d");
  burn("default:/p/c/d");
  auto figures = [&] {
    std::vector<std::uint64_t> all;
    for (const char* one :
         {"cpuacct.total", "numtasks.peak", "numtasks.events", "numtasks.rate_events"})
      all.push_back(number("default:/p", one));
    if (find_attribute(state(), slot("default:/p"), "numfiles.maxheld"))
      for (const char* one : {"numfiles.maxheld", "numfiles.events"})
        all.push_back(number("default:/p", one));
    return all;
  };
  auto before = figures();
  EXPECT_GE(before[0], 50'000'000u);
  EXPECT_EQ(before[1], 4u);
  out({"rm", "default:/p/c/d"});
  EXPECT_EQ(figures(), before);
  out({"rm", "default:/p/c"});
  EXPECT_EQ(figures(), before);
  out({"fsck", "--repair"});
  EXPECT_EQ(figures(), before);
}

}  // namespace
}  // namespace ctnbpf::test
