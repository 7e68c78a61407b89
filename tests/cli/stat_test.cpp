/* stat and tree with figures that move with time: CPU; and the formats of stat. */
#include <regex>
#include <map>
#include <set>
#include <sstream>

#include "cli_test.h"
#include "metrics_text.h"
#include "terminal.h"

namespace ctnbpf::test {
namespace {

class StatCpu : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    out({"hierarchy", "destroy", "default"});
    out({"hierarchy", "create", "default", "-o", "cpuacct,numtasks"});
  }

  Background busy(const std::string& address) {
    return start_in(address, [] {
      for (;;) asm volatile("");
      return 0;
    });
  }

  void wait_for_usage(const std::string& address) {
    EXPECT_TRUE(eventually([&] { return number(address, "cpuacct.usage") > 20'000'000; }));
  }

  static std::vector<std::string> lines(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> out;
    for (std::string line; std::getline(stream, line);) out.push_back(line);
    return out;
  }
};

TEST_F(StatCpu, TableHasTimePercentAndLoad) {
  create("default:/build");
  create("default:/build/41");
  Background task = busy("default:/build/41");
  wait_for_usage("default:/build/41");
  auto table = lines(out({"stat", "default:/build", "-r"}));
  ASSERT_EQ(table.size(), 3u);
  EXPECT_TRUE(std::regex_match(
      table[0], std::regex("container +tasks +peak +limit +refused +cpu time +cpu % +load")))
      << table[0];
  for (std::size_t i : {1u, 2u})
    EXPECT_TRUE(std::regex_match(
        table[i],
        std::regex("default:/build[/41]* +1 +1 +max +0 +[0-9]+\\.[0-9]{2} +[0-9]+ +[0-9]+")))
        << table[i];
  for (const std::string& line : table) EXPECT_LT(line.size(), 100u);
  auto row = json({"stat", "default:/build/41"})[0]["cpuacct"];
  EXPECT_GE(row["cpu_ns"].get<std::uint64_t>(), 20'000'000u);
  EXPECT_GT(row["cpu_percent"].get<int>(), 0);
  EXPECT_TRUE(row.contains("load_percent"));
  auto root = json({"stat", "default:/"})[0]["cpuacct"];
  EXPECT_GE(root["cpu_ns"].get<std::uint64_t>(), row["cpu_ns"].get<std::uint64_t>());
  EXPECT_FALSE(root.contains("load_percent")); /* not kept */
}

TEST_F(StatCpu, TreeShowsWhatIsUsedNow) {
  create("default:/build");
  create("default:/build/41");
  create("default:/idle");
  Background task = busy("default:/build/41");
  wait_for_usage("default:/build/41");
  auto tree = lines(out({"tree"}));
  ASSERT_EQ(tree.size(), 4u);
  std::smatch above;
  std::smatch below;
  ASSERT_TRUE(
      std::regex_match(tree[1], above, std::regex("├─ build            tasks 1   cpu ([0-9]+) %")))
      << tree[1];
  ASSERT_TRUE(
      std::regex_match(tree[2], below, std::regex("│  └─ 41            tasks 1   cpu ([0-9]+) %")))
      << tree[2];
  EXPECT_EQ(tree[3], "└─ idle             tasks 0   cpu 0 %");
  EXPECT_GT(std::stoi(above[1]), 0);
  EXPECT_EQ(above[1], below[1]);
  EXPECT_GT(json({"tree"})[0]["children"][0]["cpuacct"]["cpu_ns"].get<std::uint64_t>(),
            20'000'000u);
}

TEST_F(StatCpu, BatchesArePartedByAnEmptyLine) {
  create("default:/a");
  Background task = busy("default:/a");
  auto all = lines(out({"stat", "default:/a", "-i", "0.05", "-n", "3", "--format", "csv"}));
  ASSERT_EQ(all.size(), 3u * 2 + 2);
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < 3; i++) {
    EXPECT_EQ(
        all[i * 3],
        "container,tasks,tasks_peak,tasks_limit,tasks_refused,cpu_ns,cpu_percent,load_percent");
    std::smatch row;
    ASSERT_TRUE(std::regex_match(all[i * 3 + 1], row,
                                 std::regex("default:/a,1,1,max,0,([0-9]+),[0-9]+,[0-9]+")));
    EXPECT_GE(std::stoull(row[1]), last);
    last = std::stoull(row[1]);
    if (i < 2) {
      EXPECT_EQ(all[i * 3 + 2], "");
    }
  }
  fails({"stat", "-n", "3"}, 2, {"--interval"});
  fails({"stat", "-i", "0"}, 2, {"--interval"});
  fails({"stat", "-i", "x"}, 2, {"--interval"});
}

TEST_F(StatCpu, ATerminalIsRefreshedInPlace) {
  create("default:/a");
  Pty terminal({ctnbpf_path(), "stat", "-i", "0.05"});
  for (int batch = 0; batch < 3; batch++) {
    EXPECT_TRUE(terminal.shows("\033[H\033[J"));
    EXPECT_TRUE(terminal.shows("container"));
    EXPECT_TRUE(terminal.shows("default:/a"));
  }
  /* Made while it runs. */
  create("default:/b");
  EXPECT_TRUE(terminal.shows("default:/b"));
  terminal.type(kCtrlC);
  EXPECT_EQ(terminal.wait(), 128 + SIGINT);
}

TEST_F(StatCpu, SortsByAColumn) {
  for (const char* name : {"default:/a", "default:/b", "default:/c"}) create(name);
  Background one = sleeper("default:/b");
  Background two = sleeper("default:/b");
  Background three = sleeper("default:/c");
  auto order = [&](const std::string& column) {
    std::string names;
    for (const auto& row : json({"stat", "default:/a", "default:/c", "default:/b", "-s", column}))
      names += row["container"].get<std::string>().substr(9);
    return names;
  };
  EXPECT_EQ(order("tasks"), "bca");
  EXPECT_EQ(order("container"), "abc");
  EXPECT_EQ(order("tasks_limit"), "acb"); /* all the same: as they were named */
  EXPECT_EQ(order("cpu time").size(), 3u);
  fails({"stat", "-s", "nosuch"}, 1, {"no column 'nosuch'", "tasks_peak", "cpu_percent"});
}

TEST_F(StatCpu, BothFormatsForCollectorsAreValid) {
  create("default:/we\"ird\\na");
  create("default:/b");
  Background task = busy("default:/b");
  wait_for_usage("default:/b");
  limit("default:/b", "7");
  auto of = [](const std::string& metric, const std::string& path) {
    return metric + "{hierarchy=\"default\",path=\"" + path + "\"}";
  };
  for (const char* format : {"openmetrics", "prometheus"}) {
    SCOPED_TRACE(format);
    Metrics values =
        read_metrics(out({"stat", "--format", format}), format == std::string("openmetrics"));
    EXPECT_EQ(values[of("ctnbpf_tasks_limit", "/b")], "7");
    EXPECT_EQ(values[of("ctnbpf_tasks", "/b")], "1");
    EXPECT_GE(std::stod(values[of("ctnbpf_cpu_seconds_total", "/b")]), 0.02);
    /* A backslash is escaped once, as the format has it. */
    EXPECT_TRUE(values.contains(of("ctnbpf_tasks", "/we\\\"ird\\\\na")));
    /* Of containers that are named, those alone. */
    Metrics named = read_metrics(out({"stat", "default:/b", "--format", format}),
                                 format == std::string("openmetrics"));
    EXPECT_TRUE(named.contains(of("ctnbpf_tasks", "/b")));
    EXPECT_FALSE(named.contains(of("ctnbpf_tasks", "/")) || named.contains("ctnbpf_up"));
  }
}

/* Children nobody waits for are in the container's account all the same. */
TEST_F(StatCpu, RunTellsWhatTheContainerUsed) {
  Output ran = ctnbpf(
      {"run", "--stat", "--", "perl", "-e",
       "$SIG{CHLD} = 'IGNORE'; if (!fork) { 1 while (times)[0] < 0.3; exit } 1 while wait > 0"});
  EXPECT_EQ(ran.code, 0);
  std::smatch part;
  ASSERT_TRUE(std::regex_search(
      ran.err, part, std::regex("  cpu ([0-9.]+) s \\(user ([0-9.]+) sys ([0-9.]+)\\)  tasks")))
      << ran.err;
  EXPECT_GE(std::stod(part[1]), 0.29) << ran.err;
  EXPECT_NEAR(std::stod(part[1]), std::stod(part[2]) + std::stod(part[3]), 0.15) << ran.err;
}

}  // namespace
}  // namespace ctnbpf::test
