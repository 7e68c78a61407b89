/* Names are data: every command takes what a name may be made of and gives it back, and no byte that a
 * terminal obeys is printed, whoever put it where: in a name, an argument, a task's or a file's name. */
#include <sys/prctl.h>

#include "cli_test.h"
#include "ctnbpf/address.h"

namespace ctnbpf::test {
namespace {

class Names : public CliTest {
 protected:
  /* Output that is checked: UTF-8 without control characters. */
  static std::string plain(const std::vector<std::string>& args) {
    std::string text = out(args);
    for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
      end = std::min(text.find('\n', at), text.size());
      std::string line = text.substr(at, end - at);
      EXPECT_FALSE(has_control(line)) << line_of(args) << ": " << printable(line);
      EXPECT_EQ(printable(line).find("\\x"), escaped(line))
          << line_of(args) << ": " << printable(line);
    }
    return text;
  }
  static void expect_in(const std::vector<std::string>& args, const std::string& what) {
    std::string text = plain(args);
    EXPECT_NE(text.find(what), std::string::npos)
        << what << "\nnot in what " << line_of(args) << " says:\n"
        << text;
  }
  std::string last_event() const {
    std::string all = plain({"events"});
    all.pop_back();
    return all.substr(all.rfind('\n') + 1);
  }

 private:
  /* Where printable() would have a \xNN that stands in `line` already: its backslash is doubled then. */
  static std::size_t escaped(const std::string& line) {
    std::size_t at = line.find("\\x");
    return at == std::string::npos ? at : printable(line.substr(0, at + 1)).size() - 1;
  }
};

TEST_F(Names, EveryCommandTakesThemAndGivesThemBack) {
  struct Case {
    std::string name, shown, csv, label;
  };
  const std::string longest(255, 'n');
  const std::vector<Case> cases = {
      {"--lazy", "--lazy", "default:/--lazy", "--lazy"},
      {" a, \"b\" ", " a, \"b\" ", "\"default:/ a, \"\"b\"\" \"", " a, \\\"b\\\" "},
      {"\xff\xc3", "\\xff\\xc3", "default:/\\xff\\xc3", "\\\\xff\\\\xc3"},
      {"back\\slash", "back\\\\slash", "default:/back\\\\slash", "back\\\\\\\\slash"},
      {"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac", "default:/\xe6\x97\xa5\xe6\x9c\xac",
       "\xe6\x97\xa5\xe6\x9c\xac"},
      {longest, longest, "default:/" + longest, longest},
  };
  for (const auto& [name, shown, csv, label] : cases) {
    std::string address = "default:/" + name;
    bool utf8 = shown.find("\\xff") == std::string::npos;
    plain({"run", "--keep", "--name=" + name, "true"});
    Background task([] { return ::pause(); });
    std::string pid = std::to_string(task.pid());
    plain({"attach", address, pid});
    plain({"set", address, "notify_on_release=1", "numtasks.limit=9", "--best-effort"});
    EXPECT_EQ(plain({"get", "-n", address, "numtasks.limit"}), "9\n");
    expect_in({"get", "-r", "default:/", "tasks"}, "default:/" + shown + "\n  tasks: 1\n");
    expect_in({"explain", pid}, "  default:/" + shown + "\n");
    expect_in({"tree", address}, "default:/" + shown + " (");
    expect_in({"stat", "--format", "csv"}, "\n" + csv + ",1,");
    expect_in({"stat", "--format", "openmetrics"},
              "ctnbpf_tasks{container=\"default:/" + label + "\"} 1\n");
    if (utf8) {
      EXPECT_EQ(json({"stat", address})[0]["container"], address);
      EXPECT_EQ(json({"tree"})[0]["children"][0]["container"], address);
      EXPECT_EQ(json({"ps", address})[0]["container"], address);
      EXPECT_EQ(json({"get", address})["container"], address);
    } else {
      EXPECT_EQ(json({"ps", address})[0]["pid"], task.pid());
    }
    if (find_attribute(state(), slot("default:/"), "numfiles.held"))
      plain({"files", "-r", address});
    plain({"run", "-c", address, "--", "true"});
    fails({"rename", address, "--", name + "/x"}, 1, {shown.substr(0, 80)});
    plain({"kill", address});
    EXPECT_EQ(task.wait(), 128 + SIGKILL);
    EXPECT_TRUE(eventually([&, &shown = shown] {
      return last_event().find("default:/" + shown + "  pid " + pid) != std::string::npos;
    })) << last_event();
    plain({"rm", "-r", address});
    expect_in({"stat", "--removed", address}, "\ndefault:/" + shown + " ");
  }
}

/* An argument is printed in a message as harmlessly as a name. */
TEST_F(Names, HostileArgumentsAreNotEchoed) {
  create("default:/a");
  const std::string bad = "default:/\x1b[31m\nctnbpf: done\x07";
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"create", bad},
           {"rm", bad},
           {"rename", bad, "x"},
           {"rename", "default:/a", "--", "\x1b\n"},
           {"get", bad},
           {"get", "default:/a", "\x1b\n"},
           {"set", bad, "notify_on_release=1"},
           {"set", "default:/a", "\x1b\n=1"},
           {"set", "default:/a", "notify_on_release=\x1b\n"},
           {"set", "default:/a", "numtasks.limit=\x1b\n"},
           {"set", "default:/a", "numtasks.shares=\x1b\n"},
           {"set", "default:/a", "numtasks.shares=min_shares=\x1b\n"},
           {"set", "default:/a", "numtasks.forkrate=\x1b\n"},
           {"set", "default:/a", "cpuset.cpus=\x1b\n"},
           {"set", "default:/", "release_agent=\x1b\n"},
           {"set", "default:/", "release_agent=/bin/\x1b[31m"},
           {"attach", bad, "1"},
           {"attach", "default:/a", "\x1b\n"},
           {"kill", bad},
           {"ps", bad},
           {"where", "\x1b\n"},
           {"explain", "\x1b\n"},
           {"files", bad},
           {"tree", bad},
           {"stat", bad},
           {"stat", "-s", "\x1b\n"},
           {"hierarchy", "create", "\x1b\n"},
           {"hierarchy", "destroy", "\x1b\n"},
           {"hierarchy", "create", "x", "-o", "\x1b\n"}}) {
    Output said = ctnbpf(args);
    EXPECT_EQ(said.code, 1) << printable(line_of(args));
    EXPECT_EQ(said.out, "");
    expect_message(said.err, {});
    if (!said.err.empty()) said.err.pop_back();
    EXPECT_FALSE(has_control(said.err)) << printable(said.err);
  }
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"kill", "-s", "\x1b\n", "default:/a"},
                                             {"kill", "--timeout", "\x1b\n", "default:/a"},
                                             {"tree", "--\x1b\n"},
                                             {"tree", "--depth", "\x1b\n"},
                                             {"stat", "--format", "\x1b\n"},
                                             {"debug", "\x1b\n"},
                                             {"hierarchy", "\x1b\n"},
                                             {"help", "\x1b\n"},
                                             {"up", "--max-tasks", "\x1b\n"}}) {
    Output said = ctnbpf(args);
    EXPECT_EQ(said.code, 2) << printable(line_of(args));
    expect_message(said.err, {});
    if (!said.err.empty()) said.err.pop_back();
    EXPECT_FALSE(has_control(said.err)) << printable(said.err);
  }
  Output run = ctnbpf({"run", "\x1b[31m\n"});
  EXPECT_EQ(run.code, 127);
  expect_message(run.err, {"'\\x1b[31m\\x0a'"});
  Output named = ctnbpf({"run", "--name", "\x1b\n", "true"});
  EXPECT_EQ(named.code, 125);
  expect_message(named.err, {"control character"});
}

/* Tasks call themselves and their files what they like. */
TEST_F(Names, OfTasksAndFilesAreDataToo) {
  create("default:/a", {"notify_on_release=1"});
  std::array<int, 2> ready = {};
  ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
  const std::string path = "/tmp/ctnbpf-\x1b[31m\xff\n-" + std::to_string(::getpid());
  Background task = start_in("default:/a", [&] {
    ::prctl(PR_SET_NAME, "a\x1b[31m\xff\n\\b");
    int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    (void)!::write(ready[1], "r", 1);
    return fd < 0 ? 1 : ::pause();
  });
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  const std::string pid = std::to_string(task.pid());
  const std::string shown = "a\\x1b[31m\\xff\\x0a\\\\b";
  expect_in({"tree", "-t", "default:/a"}, pid + " " + shown + "\n");
  expect_in({"explain", pid}, pid + " (" + shown + ")\n");
  EXPECT_EQ(json({"ps", "default:/a"})[0]["comm"].get<std::string>().substr(0, 6), "a\x1b[31m");
  EXPECT_EQ(json({"explain", pid})["pid"], task.pid());
  if (find_attribute(state(), slot("default:/"), "numfiles.held"))
    expect_in({"files", "default:/a"}, "/tmp/ctnbpf-\\x1b[31m\\xff\\x0a-");
  task.signal(SIGKILL);
  task.wait();
  EXPECT_NE(last_event().find("(" + shown + ")"), std::string::npos) << last_event();
  ::unlink(path.c_str());
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace ctnbpf::test
