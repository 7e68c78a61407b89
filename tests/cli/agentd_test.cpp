/* agentd, release agents, and the events as `events` prints them. */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "cli_test.h"
#include "tree/emptied.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/events.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class AgentdTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    std::string name = (std::filesystem::temp_directory_path() / "ctnbpf-agentd-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    agentd_.reset();
    std::error_code error;
    std::filesystem::remove_all(dir_, error);
    CliTest::TearDown();
  }

  std::string file(const std::string& name) const { return dir_ + "/" + name; }

  /* An agent that adds a line to the file `log` and then does `more`. */
  std::string make_agent(const std::string& name, const std::string& more = "") {
    {
      std::ofstream script(file(name));
      script << "#!/bin/sh\necho \"$# $1 $PATH $HOME\" >>" << file("log") << "\n" << more << "\n";
    }
    ::chmod(file(name).c_str(), 0755);
    return file(name);
  }
  std::vector<std::string> log() const {
    std::ifstream in(file("log"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  /* Waits until agents have run `count` times; and none oftener, as far as can be seen by then. */
  void expect_runs(std::size_t count) {
    EXPECT_TRUE(eventually([&] { return log().size() >= count; })) << log().size();
    EXPECT_EQ(log().size(), count);
  }

  void start_agentd() {
    agentd_ = std::make_unique<Piped>(std::vector<std::string>{ctnbpf_path(), "agentd"},
                                      [] { ::dup2(1, 2); });
    std::string line = agentd_->line();
    while (!line.empty() && line != "ctnbpf: agentd is ready") line = agentd_->line();
    EXPECT_EQ(line, "ctnbpf: agentd is ready");
  }
  Piped& agentd() { return *agentd_; }
  void stop_agentd(int signal = SIGTERM) {
    agentd_->signal(signal);
    EXPECT_EQ(agentd_->wait(), signal == SIGKILL ? 128 + SIGKILL : 0);
    agentd_.reset();
  }
  /* The last task of `address` leaves it. */
  void empty(const std::string& address) {
    start_in(address, [] { return 0; }).wait();
  }

 private:
  std::string dir_;
  std::unique_ptr<Piped> agentd_;
};

class Agentd : public AgentdTest {};

TEST_F(Agentd, StartsTheAgentWithThePathAndTheOldEnvironment) {
  EXPECT_EQ(out({"get", "-n", "default:/", "release_agent"}), "\n");
  set("default:/", {"release_agent=" + make_agent("agent")});
  create("default:/a", {"notify_on_release=1"});
  create("default:/a/with space");
  create("default:/quiet", {"notify_on_release=0"});
  start_agentd();
  empty("default:/quiet");
  empty("default:/a/with space");
  expect_runs(1);
  EXPECT_EQ(log()[0],
            "1 /a/with space /sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin /");
  EXPECT_EQ(agentd().line(), "ctnbpf: /a/with space released: started " + file("agent"));
  /* The last child. */
  out({"rm", "default:/a/with space"});
  expect_runs(2);
  EXPECT_TRUE(log()[1].starts_with("1 /a /")) << log()[1];
}

/* Neither those that agentd has nor those that it was started with. */
TEST_F(Agentd, AnAgentHasNoDescriptorOfOurs) {
  /* The shell has its script open too, and at times the file it writes to. */
  set("default:/", {"release_agent=" +
                    make_agent("agent", "for fd in /proc/$$/fd/*; do readlink $fd >>" +
                                            file("log") + "; done; echo end >>" + file("log"))});
  create("default:/a", {"notify_on_release=1"});
  int inherited = ::open("/", O_RDONLY); /* not to be closed at exec */
  ASSERT_GT(inherited, 2);
  start_agentd();
  ::close(inherited);
  empty("default:/a");
  std::vector<std::string> lines;
  EXPECT_TRUE(eventually([&] {
    lines = log();
    return !lines.empty() && lines.back() == "end";
  }));
  for (std::size_t i = 1; i + 1 < lines.size(); i++)
    EXPECT_TRUE(lines[i] == "/dev/null" || lines[i].starts_with("pipe:") ||
                lines[i] == file("log") || lines[i] == file("agent"))
        << lines[i];
}

TEST_F(Agentd, TheLastReferenceReleasesToo) {
  if (!find_attribute(state(), slot("default:/"), "numfiles.held"))
    CTN_SKIP("numfiles is not available here");
  set("default:/", {"release_agent=" + make_agent("agent")});
  create("default:/a", {"notify_on_release=1"});
  start_agentd();
  std::array<int, 2> opened = {};
  std::array<int, 2> close_it = {};
  ASSERT_EQ(::pipe2(opened.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(close_it.data(), O_CLOEXEC), 0);
  Background task = start_in("default:/a", [&] {
    int fd = ::open("/proc", O_RDONLY | O_CLOEXEC);
    char c = 'x';
    if (::write(opened[1], &c, 1) != 1 || ::read(close_it[0], &c, 1) != 1) return 1;
    ::close(fd);
    return ::pause();
  });
  char c = 0;
  ASSERT_EQ(::read(opened[0], &c, 1), 1);
  attach_pid("default:/", task.pid()); /* the task leaves, its file stays */
  EXPECT_EQ(number("default:/a", "tasks"), 0u);
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u);
  fails({"rm", "default:/a"}, 1, {"default:/a has 1"});
  EXPECT_EQ(load(state().nodes()[slot("default:/a")].releases), 0u);
  ASSERT_EQ(::write(close_it[1], &c, 1), 1);
  expect_runs(1);
  for (int fd : {opened[0], opened[1], close_it[0], close_it[1]}) ::close(fd);
}

TEST_F(Agentd, AgentsAreNotWaitedFor) {
  ASSERT_EQ(::mkfifo(file("never").c_str(), 0600), 0);
  set("default:/", {"release_agent=" + make_agent("agent", "exec cat " + file("never"))});
  create("default:/a", {"notify_on_release=1"});
  create("default:/b", {"notify_on_release=1"});
  start_agentd();
  empty("default:/a");
  expect_runs(1);
  empty("default:/b");
  expect_runs(2); /* though the first is still there */
  stop_agentd();
  { std::ofstream end(file("never")); } /* ends them */
}

TEST_F(Agentd, EachHierarchyHasItsOwnAgent) {
  out({"hierarchy", "create", "other"});
  out({"hierarchy", "create", "none"});
  set("default:/", {"release_agent=" + make_agent("agent")});
  out({"set", "other:/", "release_agent=" + make_agent("second", "echo second >>" + file("log"))});
  for (const char* address : {"default:/a", "other:/b", "none:/c"})
    create(address, {"notify_on_release=1"});
  start_agentd();
  empty("none:/c");
  empty("default:/a");
  expect_runs(1);
  empty("other:/b");
  EXPECT_TRUE(eventually([&] { return log().size() == 3; }));
  EXPECT_EQ(log()[2], "second");
}

/* Down, or killed: what was released meanwhile is dealt with at the start, each once. */
TEST_F(Agentd, NothingIsLostWhileItIsDown) {
  set("default:/", {"release_agent=" + make_agent("agent")});
  create("default:/a", {"notify_on_release=1"});
  empty("default:/a");
  empty("default:/a");
  start_agentd();
  expect_runs(2);
  stop_agentd(SIGKILL);
  empty("default:/a");
  start_agentd();
  expect_runs(3);
  stop_agentd();
  start_agentd(); /* and nothing twice */
  empty("default:/a");
  expect_runs(4);
}

TEST_F(Agentd, AnAgentThatCannotBeStartedIsTold) {
  set("default:/", {"release_agent=/nonexistent"});
  create("default:/a", {"notify_on_release=1"});
  start_agentd();
  empty("default:/a");
  EXPECT_EQ(agentd().line(),
            "ctnbpf: /a released: cannot start /nonexistent: No such file or directory");
  fails({"set", "default:/", "release_agent=relative"}, 1, {"release_agent", "absolute path"});
  fails({"set", "default:/a", "release_agent=/bin/true"}, 1,
        {"belongs to the hierarchy", "default:/"});
  fails({"set", "default:/a", "notify_on_release=2"}, 1,
        {"notify_on_release cannot be '2'", "0 or 1"});
}

TEST_F(Agentd, RemovesWhatAKilledRunLeft) {
  start_agentd();
  Piped run({ctnbpf_path(), "run", "--name", "dead", "sh", "-c", "echo ready; read x"});
  EXPECT_EQ(run.line(), "ready");
  run.signal(SIGKILL);
  EXPECT_EQ(run.wait(), 137);
  EXPECT_TRUE(exists("default:/dead")) << "its command lives";
  run.end_input();
  EXPECT_TRUE(eventually([&] { return !exists("default:/dead"); }));
}

TEST_F(Agentd, TellsSystemdAndEndsWhenCtnbpfIsTakenDown) {
  int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  file("notify").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ::setenv("NOTIFY_SOCKET", file("notify").c_str(), 1);
  start_agentd();
  ::unsetenv("NOTIFY_SOCKET");
  auto received = [&] {
    std::array<char, 64> text = {};
    ssize_t got = ::recv(socket, text.data(), text.size(), 0);
    return std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  };
  EXPECT_EQ(received(), "READY=1");
  out({"down", "--force"});
  EXPECT_EQ(agentd().wait(), 0);
  EXPECT_EQ(received(), "STOPPING=1");
  ::close(socket);
}

class EventsCommand : public CliTest {
 protected:
  static nlohmann::json parse(const std::string& line) {
    return nlohmann::json::parse(line, nullptr, false);
  }
};

TEST_F(EventsCommand, FollowsInJsonWithTheContainerAndTheAncestorThatRefused) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/top", {"numtasks.limit=1"});
  create("default:/top/in");
  Piped events({ctnbpf_path(), "--json", "events", "-f", "--since-start"});
  Background task = start_in("default:/top/in", [] {
    if (::setuid(65534) != 0) return 2;
    return ::fork() < 0 && errno == EAGAIN ? 0 : 1;
  });
  pid_t pid = task.pid();
  EXPECT_EQ(task.wait(), 0);
  nlohmann::json event;
  do event = parse(events.line());
  while (!event.is_discarded() && event["event"] != "fork-refused");
  ASSERT_FALSE(event.is_discarded());
  EXPECT_EQ(event["container"], "default:/top/in");
  EXPECT_EQ(event["by"], "default:/top");
  EXPECT_EQ(event["pid"], pid);
  EXPECT_EQ(event["tid"], pid);
  EXPECT_EQ(event["uid"], 65534);
  EXPECT_EQ(event["comm"], "cli_test");
  EXPECT_TRUE(event["time_ns"].is_number_unsigned());

  if (!find_attribute(state(), slot("default:/"), "numfiles.held")) return;
  create("default:/files", {"numfiles.ceiling=0"});
  create("default:/files/in");
  Background opener = start_in(
      "default:/files/in", [] { return ::open("/proc", O_RDONLY) < 0 && errno == ENFILE ? 0 : 1; });
  pid = opener.pid();
  EXPECT_EQ(opener.wait(), 0);
  do event = parse(events.line());
  while (!event.is_discarded() && event["event"] != "file-refused");
  ASSERT_FALSE(event.is_discarded());
  EXPECT_EQ(event["container"], "default:/files/in");
  EXPECT_EQ(event["by"], "default:/files");
  EXPECT_EQ(event["pid"], pid);
  EXPECT_EQ(event["uid"], 0);
}

TEST_F(EventsCommand, FollowBeginsWithWhatComesNext) {
  create("default:/old", {"notify_on_release=1"});
  create("default:/new", {"notify_on_release=1"});
  start_in("default:/old", [] { return 0; }).wait();
  EXPECT_NE(out({"events"}).find("default:/old"), std::string::npos);
  Piped events({ctnbpf_path(), "--json", "events", "-f"});
  /* Again and again: when it has begun to follow is not seen from here. */
  Repeating release([&] { start_in("default:/new", [] { return 0; }).wait(); });
  auto first = parse(events.line());
  ASSERT_FALSE(first.is_discarded());
  EXPECT_EQ(first["event"], "released");
  EXPECT_EQ(first["container"], "default:/new");
}

/* By their tombstones, whoever has the name or the slot since. */
TEST_F(EventsCommand, ContainersThatAreGoneStillHaveTheirNames) {
  create("default:/went", {"notify_on_release=1"});
  Slot slot_of_went = slot("default:/went");
  start_in("default:/went", [] { return 0; }).wait();
  {
    Background last = sleeper("default:/went");
    out({"rm", "--lazy", "default:/went"});
  }
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    auto writer = Writer::open(pins());
    if (writer) tree::sweep_lingering(*writer);
    return load(state().nodes()[slot_of_went].state) == CTN_FREE;
  }));
  create("default:/went");
  EXPECT_NE(slot("default:/went"), slot_of_went);
  std::string known = out({"events"});
  EXPECT_NE(known.find("released      default:/went (removed)  pid "), std::string::npos) << known;
  EXPECT_NE(known.find("gone          default:/went (removed)  pid "), std::string::npos) << known;
}

TEST_F(EventsCommand, WithoutFollowPrintsWhatIsKnown) {
  create("default:/a", {"notify_on_release=1"});
  start_in("default:/a", [] { return 0; }).wait();
  std::string known = out({"events"});
  EXPECT_NE(known.find("released      default:/a  pid "), std::string::npos) << known;
  std::string last = out({"--json", "events"});
  last.pop_back();
  last = last.substr(last.rfind('\n') + 1);
  EXPECT_EQ(parse(last)["event"], "released");
  EXPECT_EQ(parse(last)["container"], "default:/a");
  EXPECT_FALSE(parse(last).contains("by"));
}

/* It sleeps through them. */
TEST_F(Agentd, IsNotWokenByEachRefusal) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a", {"numtasks.limit=1"});
  start_agentd();
  auto woken = [&] {
    std::ifstream status("/proc/" + std::to_string(agentd().pid()) + "/status");
    std::string key;
    for (long value = 0; status >> key;)
      if (key == "voluntary_ctxt_switches:" && status >> value) return value;
    return -1L;
  };
  long before = woken();
  EXPECT_EQ(start_in("default:/a",
                     [] {
                       for (int i = 0; i < 20'000; i++)
                         if (::fork() >= 0) return 1;
                       return 0;
                     })
                .wait(),
            0);
  EXPECT_EQ(number("default:/a", "numtasks.failcnt"), 20'000u);
  EXPECT_LT(woken() - before, 200);
}

/* A reader of what comes gets the first refusal at once and the others when their second is over; none is
 * missing. */
TEST_F(Agentd, EventsCountEveryRefusal) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/counted", {"numtasks.limit=1"});
  Piped follower({ctnbpf_path(), "--json", "events", "-f", "--since-start"});
  EXPECT_EQ(start_in("default:/counted",
                     [] {
                       for (int i = 0; i < 5'000; i++)
                         if (::fork() >= 0) return 1;
                       return 0;
                     })
                .wait(),
            0);
  std::uint64_t sum = 0;
  int lines = 0;
  while (sum < 5'000) {
    auto event = nlohmann::json::parse(follower.line(), nullptr, false);
    ASSERT_FALSE(event.is_discarded());
    if (event["event"] != "fork-refused" || event["container"] != "default:/counted") continue;
    sum += event["count"].get<std::uint64_t>();
    lines++;
    EXPECT_LE(event["first_time_ns"], event["last_time_ns"]);
  }
  EXPECT_EQ(sum, 5'000u);
  EXPECT_LT(lines, 200);
  std::uint64_t again = 0;
  Output all = ctnbpf({"--json", "events"});
  std::istringstream shown(all.out);
  for (std::string line; std::getline(shown, line);) {
    auto event = nlohmann::json::parse(line);
    if (event["event"] == "fork-refused" && event["container"] == "default:/counted")
      again += event["count"].get<std::uint64_t>();
  }
  EXPECT_EQ(again, 5'000u);
}

/* Without -f it shows what there was when it began, however quickly more comes. */
TEST_F(Agentd, EventsWithoutFollowingEnds) {
  create("default:/a", {"notify_on_release=1"});
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  Slot at = slot("default:/a");
  Background member([] { return ::pause(); });
  Repeating events([&] {
    store(writer->nodes()[at].armed, 1U); /* as if somebody had come and gone */
    (void)tell_if_emptied(*writer, at);
  });
  std::uint64_t first = load(writer->core().event_head);
  ASSERT_TRUE(eventually([&] { return load(writer->core().event_head) > first + CTN_EVENT_LOG; }));
  Output shown = ctnbpf({"events"});
  EXPECT_EQ(shown.code, 0);
  EXPECT_LE(std::count(shown.out.begin(), shown.out.end(), '\n'), 2 * CTN_EVENT_LOG);
  EXPECT_GT(events.stop(), 0);
}

}  // namespace
}  // namespace ctnbpf::test
