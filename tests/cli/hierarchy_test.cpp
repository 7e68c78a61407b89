/* hierarchy, subsystems. */
#include <set>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class Hierarchy : public CliTest {};

TEST_F(Hierarchy, CreateListDestroy) {
  out({"hierarchy", "create", "groups"});
  create("groups:/a");
  create("groups:/b");
  EXPECT_EQ(out({"hierarchy", "list"}),
            "default              " + bound() + std::string(41 - bound().size(), ' ') +
                "0 containers\n"
                "groups                                                        2 containers\n");
  auto list = json({"hierarchy", "list"});
  EXPECT_EQ(list[1],
            nlohmann::json(
                {{"name", "groups"}, {"subsystems", nlohmann::json::array()}, {"containers", 2}}));
  std::string names;
  for (const auto& name : list[0]["subsystems"])
    names += (names.empty() ? "" : ",") + name.get<std::string>();
  EXPECT_EQ(names, bound());

  fails({"hierarchy", "destroy", "groups"}, 1, {"has 2 containers below it, first /a", "-r"});
  fails_json({"hierarchy", "destroy", "groups"}, 1, "EBUSY");
  out({"hierarchy", "destroy", "groups", "-r"});
  fails({"hierarchy", "destroy", "groups"}, 1, {"no hierarchy 'groups'"});
}

TEST_F(Hierarchy, CreateNamesWhatIsWrong) {
  fails({"hierarchy", "create", "x", "-o", "nosuch"}, 1,
        {"unknown subsystem 'nosuch'", "`ctnbpf subsystems`"});
  fails_json({"hierarchy", "create", "x", "-o", "nosuch"}, 1, "ENOENT");
  fails({"hierarchy", "create", "x", "-o", "numtasks"}, 1,
        {"'numtasks' is bound to hierarchy 'default'"});
  fails_json({"hierarchy", "create", "x", "-o", "numtasks"}, 1, "EBUSY");
  fails_json({"hierarchy", "create", "default"}, 1, "EEXIST");
  fails_json({"hierarchy", "create", "no/slash"}, 1, "EINVAL");
  fails({"hierarchy", "create", "numtasks"}, 1, {"would be taken for subsystem 'numtasks'"});
  fails({"hierarchy", "create", "x", "-o", ""}, 1, {"-o '' names no subsystem", "leave it out"});
  fails({"hierarchy", "create", "x", "-s", "nosuch=1"}, 1, {"unknown attribute 'nosuch'"});
  EXPECT_EQ(json({"hierarchy", "list"}).size(), 1u); /* nothing was left of any */
}

TEST_F(Hierarchy, AtLeastEight) {
  for (int i = 1; i < CTN_MAX_HIER; i++) out({"hierarchy", "create", "h" + std::to_string(i)});
  fails({"hierarchy", "create", "one-too-many"}, 1, {"there can be 8", "destroy one first"});
  fails_json({"hierarchy", "create", "one-too-many"}, 1, "ENOSPC");
}

/* A subsystem that is bound where no container is has none of its own programs attached. */
TEST_F(Hierarchy, UnusedSubsystemsAttachNothing) {
  auto attached = [] {
    std::set<std::string> names;
    for (const auto& program : json({"debug", "progs"}))
      if (program["attached"].get<bool>()) names.insert(program["program"].get<std::string>());
    return names;
  };
  detach_unused_hooks();
  out({"hierarchy", "destroy", "default"});
  out({"hierarchy", "create", "tasks", "-o", "numtasks"});
  out({"hierarchy", "create", "time", "-o", "cpuacct"});
  EXPECT_TRUE(attached().empty());
  create("tasks:/a");
  EXPECT_TRUE(attached().contains("t_exit") || attached().contains("p_exit"));
  EXPECT_FALSE(attached().contains("t_switch"));
  create("time:/a");
  EXPECT_TRUE(attached().contains("t_switch"));
  for (const std::string& program : attached())
    EXPECT_EQ(program.find("file"), std::string::npos) << program;
  out({"hierarchy", "destroy", "-r", "time"});
  EXPECT_FALSE(attached().contains("t_switch"));
  out({"hierarchy", "destroy", "-r", "tasks"});
  EXPECT_TRUE(attached().empty());
}

/* A destroyed hierarchy's subsystems are free for another one. */
TEST_F(Hierarchy, SubsystemsMoveWithTheirHierarchy) {
  out({"hierarchy", "destroy", "default"});
  EXPECT_EQ(json({"subsystems"})[0]["hierarchy"], nullptr);
  fails({"create", "numtasks:/x"}, 1, {"'numtasks' is not bound to a hierarchy"});
  out({"hierarchy", "create", "limits", "-o", "numtasks", "-s", "notify_on_release=1"});
  out({"create", "numtasks:/x"});
  EXPECT_TRUE(exists("limits:/x"));
  EXPECT_EQ(number("limits:/x", "notify_on_release"), 1u); /* set on the root, inherited */
}

/* As rm -r: what can go goes, and each that cannot is named. */
TEST_F(Hierarchy, DestroyRecursiveNamesLiveTasks) {
  out({"create", "-p", "default:/a/b", "default:/a/c", "default:/y", "default:/z"});
  Background one = sleeper("default:/a/b");
  fails({"hierarchy", "destroy", "-r", "default"}, 1, {"default:/a/b has 1 live task"});
  EXPECT_TRUE(exists("default:/a/b"));
  EXPECT_FALSE(exists("default:/a/c") || exists("default:/z"));
  out({"create", "default:/y"});
  Background two = sleeper("default:/y");
  Output both = ctnbpf({"--json", "hierarchy", "destroy", "-r", "default"});
  EXPECT_EQ(both.code, 1);
  EXPECT_EQ(std::count(both.err.begin(), both.err.end(), '\n'), 2) << both.err;
  EXPECT_EQ(nlohmann::json::parse(both.out)["errors"].size(), 2u);
}

/* The kernel frees tasks some time after they were reaped; destroying waits that long. */
TEST_F(Hierarchy, DestroyRightAfterTheLastTask) {
  out({"run", "true"});
  out({"hierarchy", "destroy", "default"});
}

TEST_F(Hierarchy, SubsystemsAndTheirAttributes) {
  std::string level_column = level_name(level());
  std::string plain = out({"subsystems"});
  EXPECT_TRUE(plain.find("\nnumtasks   default      " + level_column) != std::string::npos)
      << plain;
  std::string all = out({"subsystems", "--attributes"});
  for (const char* line : {"  numtasks.current           ro  ", "  numtasks.limit             rw  ",
                           "  notify_on_release          rw  "})
    EXPECT_NE(all.find(line), std::string::npos) << line << "\nin\n" << all;

  auto list = json({"subsystems", "--attributes"});
  auto numtasks = *std::find_if(list.begin(), list.end(),
                                [](const auto& one) { return one["name"] == "numtasks"; });
  EXPECT_EQ(numtasks["hierarchy"], "default");
  EXPECT_EQ(numtasks["level"], level_column);
  const std::set<std::string> settable = {"numtasks.limit", "numtasks.shares",
                                          "numtasks.total_numtasks", "numtasks.forkrate",
                                          "numtasks.forkrate_interval"};
  for (const auto& attribute : numtasks["attributes"])
    EXPECT_EQ(attribute["writable"].get<bool>(),
              settable.contains(attribute["name"].get<std::string>()))
        << attribute;
  EXPECT_FALSE(json({"subsystems"})[0].contains("attributes"));
}

}  // namespace
}  // namespace ctnbpf::test
