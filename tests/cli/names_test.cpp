/* Names are data: every command takes what a name may be made of and gives it back, and no byte that a
 * terminal obeys is printed, whoever put it where: in a name, an argument, a task's or a file's name. */
#include <sys/prctl.h>

#include <set>

#include "cli_test.h"
#include "ctnbpf/attributes.h"
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
  /* The same of JSON. */
  static nlohmann::json plain_json(std::vector<std::string> args) {
    args.insert(args.begin(), "--json");
    auto parsed = nlohmann::json::parse(plain(args), nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << line_of(args);
    return parsed;
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
    std::string name, shown, csv, label, json;
  };
  const std::string longest(255, 'n');
  const std::vector<Case> cases = {
      {"--lazy", "--lazy", "default:/--lazy", "--lazy", "--lazy"},
      {" a, \"b\" ", " a, \"b\" ", R"("default:/ a, ""b"" ")", R"( a, \"b\" )", " a, \"b\" "},
      {"\xff\xc3", R"(\xff\xc3)", R"(default:/\xff\xc3)", R"(\\xff\\xc3)", R"(\xff\xc3)"},
      {R"(\\xff)", R"(\\xff)", R"(default:/\\xff)", R"(\\\\xff)",
       R"(\\xff)"}, /* its name is \xff */
      {R"(back\slash)", R"(back\\slash)", R"(default:/back\\slash)", R"(back\\slash)",
       R"(back\slash)"},
      {R"(dev-a\x2db)", R"(dev-a\\x2db)", R"(default:/dev-a\\x2db)", R"(dev-a\\x2db)",
       R"(dev-a\x2db)"},
      {"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac", "default:/\xe6\x97\xa5\xe6\x9c\xac",
       "\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
      {"a\xe2\x80\xae"
       "b",
       R"(a\xe2\x80\xaeb)", R"(default:/a\xe2\x80\xaeb)", R"(a\\xe2\\x80\\xaeb)",
       "a\xe2\x80\xae"
       "b"},
      {longest, longest, "default:/" + longest, longest, longest},
  };
  for (const auto& [name, shown, csv, label, in_json] : cases) {
    std::string address = "default:/" + name;
    plain({"run", "--keep", "--name=" + name, "true"});
    Background task([] { return ::pause(); });
    const pid_t task_pid = task.pid();
    std::string pid = std::to_string(task_pid);
    plain({"attach", address, pid});
    plain({"set", address, "notify_on_release=1", "numtasks.limit=9", "--best-effort"});
    EXPECT_EQ(plain({"get", "-n", address, "numtasks.limit"}), "9\n");
    expect_in({"get", "-r", "default:/", "tasks"}, "default:/" + shown + "\n  tasks: 1\n");
    expect_in({"explain", pid}, "  default:/" + shown + "\n");
    expect_in({"tree", address}, "default:/" + shown + " (");
    expect_in({"stat", "--format", "csv"}, "\n" + csv + ",1,");
    expect_in({"stat", "--format", "openmetrics"},
              "ctnbpf_tasks{hierarchy=\"default\",path=\"/" + label + "\"} 1\n");
    const std::string named = "default:/" + in_json;
    EXPECT_EQ(plain_json({"stat", address})[0]["container"], named);
    EXPECT_EQ(plain_json({"tree"})[0]["children"][0]["container"], named);
    EXPECT_EQ(plain_json({"ps", address})[0]["container"], named);
    EXPECT_EQ(plain_json({"get", address})["container"], named);
    EXPECT_EQ(plain_json({"where", pid})[0]["path"], "/" + in_json);
    EXPECT_EQ(plain_json({"explain", pid})["bounds"][0]["on"], named);
    /* As it is printed anywhere, it can be given back. */
    for (const std::string& back : {"default:/" + shown, named}) {
      EXPECT_EQ(plain({"get", "-n", back, "tasks"}), "1\n") << back;
      plain({"rename", back, "--", "other"});
      plain({"rename", "default:/other", "--", back.substr(9)});
      EXPECT_EQ(plain_json({"stat", back})[0]["container"], named);
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
    EXPECT_EQ(plain_json({"stat", "--removed", "default:/" + shown}).back()["container"], named);
    std::string events = plain({"--json", "events"});
    bool found = false;
    for (std::size_t at = 0, end = 0; at < events.size(); at = end + 1) {
      end = events.find('\n', at);
      auto one = nlohmann::json::parse(events.substr(at, end - at));
      found = found || (one["container"] == named && one["pid"] == task_pid);
    }
    EXPECT_TRUE(found) << named;
  }
}

/* Different names look different, everywhere. */
TEST_F(Names, NoTwoLookTheSame) {
  const std::vector<std::string> names = {"\xff",       "\xfe",   R"(\\xff)",  R"(\\xfe)",
                                          R"(\\\\xff)", R"(a\b)", R"(a\\b\\)", "\xef\xbf\xbd"};
  for (const std::string& name : names) plain({"create", "default:/" + name});
  EXPECT_EQ(plain_json({"stat", "-r", "default:/"}).size(), names.size() + 1);
  for (const char* format : {"table", "csv", "openmetrics", "json"}) {
    std::set<std::string> seen;
    std::string text = plain({"stat", "--format", format});
    const bool metrics = format == std::string("openmetrics");
    const std::string begin = metrics ? "ctnbpf_tasks{" : "default:/";
    for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1))
      seen.insert(text.substr(at, text.find_first_of(metrics ? "\n" : ",\n} ", at) - at));
    EXPECT_EQ(seen.size(), names.size() + 1) << format << "\n" << text;
  }
}

/* An argument is printed in a message as harmlessly as a name. */
TEST_F(Names, HostileArgumentsAreNotEchoed) {
  create("default:/a");
  const std::string bad =
      "default:/\x1b[31m\nctnbpf: done\x07\xc2\x9b"
      "1m\x7f\xff";
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
    std::vector<std::string> as_json = args;
    as_json.insert(as_json.begin(), "--json");
    Output error = ctnbpf(as_json);
    std::replace(error.out.begin(), error.out.end(), '\n', ' ');
    EXPECT_FALSE(has_control(error.out)) << printable(error.out);
    EXPECT_EQ("ctnbpf: " + nlohmann::json::parse(error.out)["error"]["message"].get<std::string>(),
              said.err);
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
  for (const std::string& name : {std::string("a\x1b[31m\xff\n\\b"),
                                  std::string("\xc2\x9b"
                                              "31m\xc2\x85x"),
                                  std::string("\x7f\x07\x08"), std::string(R"(\xff \\)"),
                                  std::string("\xe2\x80\xae"
                                              "abc\xe2\x80\xa8"),
                                  std::string("gr\xc3\xbc\xc3\x9f")}) {
    std::array<int, 2> ready = {};
    ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
    const std::string path = "/tmp/ctnbpf-" + name + "-" + std::to_string(::getpid());
    Background task = start_in("default:/a", [&] {
      ::prctl(PR_SET_NAME, name.c_str());
      int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
      (void)!::write(ready[1], "r", 1);
      return fd < 0 ? 1 : ::pause();
    });
    char c = 0;
    ASSERT_EQ(::read(ready[0], &c, 1), 1);
    const std::string pid = std::to_string(task.pid());
    const std::string shown = printable(name);
    expect_in({"tree", "-t", "default:/a"}, pid + " " + shown + "\n");
    expect_in({"explain", pid}, pid + " (" + shown + ")\n");
    EXPECT_EQ(plain_json({"ps", "default:/a"})[0]["comm"], portable(name));
    EXPECT_EQ(plain_json({"explain", pid})["comm"], portable(name));
    plain_json({"tree", "-t"});
    if (find_attribute(state(), slot("default:/"), "numfiles.held")) {
      expect_in({"files", "default:/a"}, "/tmp/ctnbpf-" + shown + "-");
      bool found = false;
      auto listed = plain_json({"files", "default:/a"});
      for (const auto& one : listed["descriptors"])
        found = found || (one["path"] == portable(path) && one["comm"] == portable(name));
      EXPECT_TRUE(found) << shown << " in " << listed;
    }
    task.signal(SIGKILL);
    task.wait();
    EXPECT_NE(last_event().find("(" + shown + ")"), std::string::npos) << last_event();
    std::string events = plain({"--json", "events"});
    events.pop_back();
    EXPECT_EQ(nlohmann::json::parse(events.substr(events.rfind('\n') + 1))["comm"], portable(name));
    ::unlink(path.c_str());
    ::close(ready[0]);
    ::close(ready[1]);
  }
}

/* A path that is printed can be set again. */
TEST_F(Names, OfAReleaseAgent) {
  for (const char* agent : {"/bin/a\xff", R"(/bin/a\b)", R"(/bin/a\\b)"}) {
    plain({"set", "default:/", std::string("release_agent=") + agent});
    std::string shown = plain({"get", "-n", "default:/", "release_agent"});
    auto named = plain_json({"get", "default:/", "release_agent"})["release_agent"];
    for (const std::string& back : {shown, named.get<std::string>()}) {
      plain({"set", "default:/", "release_agent=" + back});
      EXPECT_EQ(plain({"get", "-n", "default:/", "release_agent"}), shown);
    }
  }
  plain({"set", "default:/", "release_agent="});
}

/* One path of 50 KB does not make each line of a table as long. */
TEST_F(Names, ALongOneMakesNoOtherLineLonger) {
  create("default:/a");
  std::string path = "default:/" + std::string(200, 'n');
  create(path);
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"stat"}, {"tree"}, {"stat", "--removed"}}) {
    if (args.back() == "--removed") {
      out({"rm", path, "default:/a"});
    }
    std::string text = plain(args);
    std::size_t at = text.find(args[0] == "tree" ? " a " : "default:/a ");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_LT(text.find('\n', at) - at, 240u) << text;
    EXPECT_NE(text.find(std::string(200, 'n') + "  "), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ctnbpf::test
