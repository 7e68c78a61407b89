/* exec: the same process goes in and becomes the command. */
#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class Exec : public CliTest {};

TEST_F(Exec, IsTheCommandAndInsideBeforeItBegins) {
  create("default:/web");
  out({"hierarchy", "create", "groups"});
  out({"create", "groups:/g"});
  Piped command({ctnbpf_path(), "exec", "numtasks:/web", "groups:/g", "--best-effort", "-s",
                 "numtasks.limit=9", "--", "sh", "-c", "echo $$; read line; exit 7"});
  EXPECT_EQ(command.line(), std::to_string(command.pid()));
  EXPECT_EQ(out({"ps", "default:/web"}), std::to_string(command.pid()) + "\n");
  EXPECT_EQ(out({"ps", "groups:/g"}), std::to_string(command.pid()) + "\n");
  EXPECT_EQ(out({"get", "-n", "default:/web", "numtasks.limit"}), "9\n");
  command.type("\n");
  EXPECT_EQ(command.wait(), 7);
}

TEST_F(Exec, LeavesNoDescriptorsToTheCommand) {
  create("default:/web");
  const std::vector<std::string> list = {"sh", "-c", "cd /proc/$$/fd && echo *"};
  EXPECT_EQ(out({"exec", "default:/web", "--", list[0], list[1], list[2]}), run(list).out);
}

TEST_F(Exec, WordsAfterTheDashesAreTheCommands) {
  create("default:/web");
  EXPECT_EQ(out({"exec", "default:/web", "--", "echo", "--json", "--", "-s"}), "--json -- -s\n");
}

/* Nothing is set or moved where the command cannot be run. */
TEST_F(Exec, CommandsThatCannotBeRun) {
  create("default:/web");
  auto exec = [](const std::string& command) {
    return std::vector<std::string>{
        "exec", "--best-effort", "default:/web", "-s", "numtasks.limit=9", "--", command};
  };
  fails(exec("/no/such"), 127, {"'/no/such': No such file"});
  fails(exec("nosuchcommand"), 127, {"'nosuchcommand': No such file"});
  fails(exec(""), 127, {"'': No such file"});
  fails(exec("/etc/passwd"), 126, {"'/etc/passwd': Permission denied"});
  fails(exec("/etc"), 126, {"'/etc': Permission denied"});
  EXPECT_EQ(out({"get", "-n", "default:/web", "numtasks.limit"}), "max\n");
}

TEST_F(Exec, BadInput) {
  create("default:/web");
  create("default:/other");
  fails({"exec", "default:/web", "--best-effort", "true"}, 2, {"COMMAND"});
  fails({"exec", "default:/web", "--"}, 2, {"COMMAND"});
  fails({"exec", "--", "true"}, 2, {"ADDR"});
  fails({"exec", "default:/nosuch", "--", "true"}, 125, {"no container default:/nosuch"});
  fails({"exec", "default:/web", "numtasks:/other", "--", "true"}, 125, {"are in one hierarchy"});
  fails({"exec", "default:/web", "-s", "numtasks.limit=x", "--", "true"}, 125,
        {"numtasks.limit cannot be 'x'"});
  out({"hierarchy", "create", "groups"});
  out({"create", "groups:/g"});
  fails({"exec", "groups:/g", "-s", "numtasks.limit=5", "--", "true"}, 125,
        {"'numtasks.limit=5' speaks of hierarchy 'default', and no ADDR names a container there"});
  EXPECT_EQ(out({"get", "-n", "default:/web", "tasks"}), "0\n");
}

}  // namespace
}  // namespace ctnbpf::test
