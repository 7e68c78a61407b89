/* tree, stat. */
#include "cli_test.h"

namespace ctnbpf::test {
namespace {

/* Over a default layout of one subsystem, so that the others may say what they like. */
class Show : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    out({"hierarchy", "destroy", "default"});
    out({"hierarchy", "create", "default", "-o", "numtasks"});
  }
};

TEST_F(Show, TreeIsDrawnWithBoxes) {
  create("default:/build");
  create("default:/build/41");
  create("default:/build/42");
  create("default:/build/42/deep");
  limit("default:/build", "64");
  limit("default:/build/42", "32");
  Background task = sleeper("default:/build/41");
  EXPECT_EQ(out({"tree"}), title() +
                               "\n"
                               "└─ build            tasks 1/64\n"
                               "   ├─ 41            tasks 1\n"
                               "   └─ 42            tasks 0/32\n"
                               "      └─ deep       tasks 0\n");
  EXPECT_EQ(out({"tree", "--depth", "1"}), title() + "\n└─ build            tasks 1/64\n");
  EXPECT_EQ(out({"tree", "--depth=0"}), title() + "\n");
  EXPECT_EQ(out({"tree", "numtasks:/build/42"}), "default:/build/42 (" + bound() +
                                                     ")   tasks 0/32\n"
                                                     "└─ deep" +
                                                     std::string(21 + bound().size() - 5, ' ') +
                                                     "tasks 0\n");
  EXPECT_EQ(out({"tree", "-a", "--depth", "1"}),
            title() + "\n└─ build            tasks 1/64 (peak 1, 0 refused)\n");
  fails({"tree", "default:/nosuch"}, 1, {"no container default:/nosuch"});
  fails({"tree", "--depth", "-1"}, 2, {"--depth"});
}

TEST_F(Show, TreeShowsTasksAndEveryHierarchy) {
  out({"hierarchy", "create", "groups"});
  create("groups:/a");
  create("default:/x");
  create("default:/x/y");
  Background task = sleeper("default:/x");
  Background other = sleeper("groups:/a");
  char comm[32] = {};
  std::FILE* file = std::fopen("/proc/self/comm", "r");
  ASSERT_TRUE(file != nullptr && std::fscanf(file, "%31s", comm) == 1);
  std::fclose(file);
  EXPECT_EQ(out({"tree", "-t"}), title() +
                                     "\n"
                                     "└─ x                tasks 1\n"
                                     "   ├─ " +
                                     std::to_string(task.pid()) + " " + comm +
                                     "\n"
                                     "   └─ y             tasks 0\n"
                                     "groups\n"
                                     "└─ a                tasks 1\n"
                                     "   └─ " +
                                     std::to_string(other.pid()) + " " + comm + "\n");
}

/* Names are data: a terminal never gets their control characters, nor half of a character. */
TEST_F(Show, NamesAreNeverRaw) {
  create("default:/bad\xff");
  create(
      "default:/gr\xc3\xbc\xc3\x9f"
      "e-und-noch-mehr");
  EXPECT_EQ(out({"tree"}), title() +
                               "\n"
                               "├─ bad\\xff               tasks 0\n"
                               "└─ gr\xc3\xbc\xc3\x9f"
                               "e-und-noch-mehr   tasks 0\n");
  EXPECT_EQ(json({"tree"})[0]["children"].size(), 2u); /* valid JSON all the same */
}

TEST_F(Show, TreeJson) {
  create("default:/a");
  create("default:/a/b");
  limit("default:/a", "5");
  Background task = sleeper("default:/a/b");
  auto all = json({"tree"});
  EXPECT_EQ(all[0]["container"], "default:/");
  EXPECT_EQ(all[0]["subsystems"], bound());
  auto a = all[0]["children"][0];
  EXPECT_EQ(a["container"], "default:/a");
  EXPECT_EQ(a["live_tasks"], 0);
  EXPECT_EQ(a["numtasks"],
            nlohmann::json({{"current", 1}, {"peak", 1}, {"limit", 5}, {"refused", 0}}));
  EXPECT_EQ(a["children"][0]["numtasks"]["limit"], "max");
  EXPECT_EQ(a["children"][0]["live_tasks"], 1);
  EXPECT_EQ(json({"tree", "--depth", "0"})[0]["children"].size(), 0u);
}

TEST_F(Show, StatIsAligned) {
  create("default:/a");
  create("default:/a/longer-name");
  limit("default:/a", "4194304");
  Background task = sleeper("default:/a/longer-name");
  EXPECT_EQ(out({"stat", "-r", "default:/a"}),
            "container               tasks  peak    limit  refused\n"
            "default:/a                  1     1  4194304        0\n"
            "default:/a/longer-name      1     1      max        0\n");
  EXPECT_EQ(out({"stat", "default:/a/longer-name", "default:/a", "--format", "csv"}),
            "container,tasks,tasks_peak,tasks_limit,tasks_refused\n"
            "default:/a/longer-name,1,1,max,0\n"
            "default:/a,1,1,4194304,0\n");
  auto rows = json({"stat", "default:/a"});
  EXPECT_EQ(
      rows,
      nlohmann::json(
          {{{"container", "default:/a"},
            {"numtasks", {{"current", 1}, {"peak", 1}, {"limit", 4194304}, {"refused", 0}}}}}));
  EXPECT_EQ(nlohmann::json::parse(out({"stat", "default:/a", "--format=json"})), rows);
  fails({"stat", "default:/nosuch"}, 1, {"no container default:/nosuch"});
  fails({"stat", "--format", "xml"}, 2, {"--format"});
}

/* Without an address: everything; the root shows the machine's tasks and no peak below them. */
TEST_F(Show, StatOfEverything) {
  out({"hierarchy", "create", "groups"});
  create("default:/a,b");
  auto rows = json({"stat"});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["container"], "default:/");
  EXPECT_GT(rows[0]["numtasks"]["current"].get<int>(), 1);
  EXPECT_GE(rows[0]["numtasks"]["peak"].get<int>(), rows[0]["numtasks"]["current"].get<int>());
  EXPECT_EQ(rows[2], nlohmann::json({{"container", "groups:/"}}));
  std::string csv = out({"stat", "--format", "csv"});
  EXPECT_NE(csv.find("\n\"default:/a,b\",0,0,max,0\ngroups:/,,,,\n"), std::string::npos) << csv;
  EXPECT_NE(out({"stat"}).find("groups:/          -     -      -        -\n"), std::string::npos)
      << out({"stat"});
}

}  // namespace
}  // namespace ctnbpf::test
