/* exporter: over real sockets, as a collector does it. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <thread>

#include "cli_test.h"
#include "metrics_text.h"

namespace ctnbpf::test {
namespace {

constexpr const char* kPath = "/run/ctnbpf-exporter-test";
constexpr const char* kAsPrometheus =
    "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5\r\n";

struct Answer {
  std::string status; /* "200" */
  std::string head;
  std::string body;
};

int connect_to(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

Answer ask(const std::string& headers = "", const std::string& what = "GET /metrics") {
  Answer answer;
  int fd = connect_to(kPath);
  EXPECT_GE(fd, 0) << std::strerror(errno);
  std::string request = what + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n";
  EXPECT_EQ(::write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string text;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(fd, piece, sizeof(piece))) > 0;)
    text.append(piece, static_cast<std::size_t>(got));
  ::close(fd);
  std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.head = text.substr(0, end);
  answer.body = text.substr(end + 4);
  answer.status = answer.head.substr(9, 3);
  return answer;
}

std::string of(const std::string& metric, const std::string& path, const std::string& more = "") {
  return metric + "{hierarchy=\"default\",path=\"" + path + "\"" + more + "}";
}

class ExporterCommand : public CliTest {
 protected:
  static std::vector<std::string> command(std::vector<std::string> more = {}) {
    std::vector<std::string> words{ctnbpf_path(), "exporter", "--listen",
                                   std::string("unix:") + kPath};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static void wait_for_it() {
    EXPECT_TRUE(eventually([] {
      int fd = connect_to(kPath);
      if (fd >= 0) ::close(fd);
      return fd >= 0;
    }));
  }
};

TEST_F(ExporterCommand, GivesWhatStatGivesInBothFormats) {
  create("default:/web");
  limit("default:/web", "7");
  Background task = sleeper("default:/web");
  out({"run", "-c", "default:/web", "true"}); /* so that it ran */
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return number("default:/web", "numtasks.current") == 1;
  }));
  Piped server(command());
  wait_for_it();
  Answer open = ask(kAsPrometheus);
  EXPECT_EQ(open.status, "200");
  EXPECT_NE(open.head.find("application/openmetrics-text; version=1.0.0"), std::string::npos);
  Metrics figures = read_metrics(open.body, true);
  EXPECT_EQ(figures["ctnbpf_up"], "1");
  EXPECT_EQ(figures[of("ctnbpf_tasks", "/web")], "1");
  EXPECT_EQ(figures[of("ctnbpf_tasks_limit", "/web")], "7");
  EXPECT_EQ(figures[of("ctnbpf_tasks_refused_total", "/web", ",by=\"limit\"")], "0");
  EXPECT_EQ(figures[of("ctnbpf_tasks_refused_total", "/web", ",by=\"rate\"")], "0");
  EXPECT_EQ(figures["ctnbpf_table_entries{table=\"containers\"}"], "1");
  EXPECT_EQ(figures["ctnbpf_level{subsystem=\"numtasks\"}"], std::to_string(level()));
  /* All slices are in the last bucket, and their sum is the time on all CPUs. */
  EXPECT_EQ(figures[of("ctnbpf_cpu_slice_seconds_bucket", "/web", ",le=\"+Inf\"")],
            figures[of("ctnbpf_cpu_slice_seconds_count", "/web")]);
  EXPECT_NE(figures[of("ctnbpf_cpu_slice_seconds_count", "/web")], "0");
  double own = 0;
  for (const auto& [name, value] : figures)
    if (name.starts_with("ctnbpf_cpu_own_seconds_total{hierarchy=\"default\",path=\"/web\""))
      own += std::stod(value);
  EXPECT_NEAR(own, std::stod(figures[of("ctnbpf_cpu_slice_seconds_sum", "/web")]), 1e-6);

  Answer plain = ask();
  EXPECT_NE(plain.head.find("text/plain; version=0.0.4"), std::string::npos) << plain.head;
  Metrics same = read_metrics(plain.body, false);
  EXPECT_EQ(same[of("ctnbpf_tasks", "/web")], "1");
  auto names = [](const Metrics& all) {
    std::set<std::string> only;
    for (const auto& one : all)
      if (!one.first.starts_with("ctnbpf_cpu_own")) only.insert(one.first);
    return only;
  };
  EXPECT_EQ(names(figures), names(same));
  EXPECT_EQ(names(read_metrics(out({"stat", "--format", "prometheus"}), false)), names(same));
}

TEST_F(ExporterCommand, ShowsWhatIsAskedFor) {
  create("default:/web");
  create("default:/web/a");
  create("default:/web/a/b");
  create("default:/db");
  Piped run({ctnbpf_path(), "run", "--name", "job", "-s", "notify_on_release=0", "--", "sh", "-c",
             "echo up; cat"});
  EXPECT_EQ(run.line(), "up");
  auto shown = [&](const std::vector<std::string>& more) {
    Piped server(command(more));
    wait_for_it();
    std::string paths;
    for (const auto& one : read_metrics(ask().body, false))
      if (one.first.starts_with("ctnbpf_tasks{"))
        paths += one.first.substr(one.first.find("path=") + 5) + " ";
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
    return paths;
  };
  EXPECT_EQ(shown({}), "\"/\"} \"/db\"} \"/web\"} \"/web/a\"} \"/web/a/b\"} ");
  EXPECT_EQ(shown({"--transient", "--match", "/job"}), "\"/job\"} ");
  EXPECT_EQ(shown({"--depth", "1"}), "\"/\"} \"/db\"} \"/web\"} ");
  EXPECT_EQ(shown({"--match", "/web/*"}), "\"/web/a\"} \"/web/a/b\"} ");
  EXPECT_EQ(shown({"--match", "default:/db"}), "\"/db\"} ");
  run.end_input();
  EXPECT_EQ(run.wait(), 0);
}

TEST_F(ExporterCommand, AnswersManyAtOnceAndNobodyHoldsItUp) {
  for (int i = 0; i < 200; i++) create("default:/c" + std::to_string(i));
  Piped server(command());
  wait_for_it();
  int silent = connect_to(kPath); /* sends nothing */
  std::vector<std::thread> clients;
  std::atomic<int> whole{0};
  for (int i = 0; i < 8; i++)
    clients.emplace_back([&] {
      for (int turn = 0; turn < 5; turn++)
        if (ask(kAsPrometheus).body.ends_with("\n# EOF\n")) whole++;
    });
  EXPECT_EQ(ctnbpf({"create", "default:/meanwhile"}).code, 0);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(whole, 40);
  EXPECT_TRUE(read_metrics(ask().body, false).contains(of("ctnbpf_tasks", "/meanwhile")));
  ::close(silent);
}

TEST_F(ExporterCommand, SaysThatNothingIsUp) {
  Piped server(command());
  wait_for_it();
  EXPECT_EQ(read_metrics(ask().body, false)["ctnbpf_up"], "1");
  out({"down"});
  EXPECT_EQ(read_metrics(ask().body, false)["ctnbpf_up"], "0");
  EXPECT_EQ(ctnbpf({"up"}).code, 0);
  EXPECT_EQ(read_metrics(ask().body, false)["ctnbpf_up"], "1");
}

TEST_F(ExporterCommand, TakesTheSocketThatSystemdHandsOver) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, kPath, sizeof(address.sun_path) - 1);
  ::unlink(kPath);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(fd, 8), 0);
  for (int round = 0; round < 2; round++) { /* it goes on listening when the exporter has ended */
    Piped server({ctnbpf_path(), "exporter"}, [fd] {
      int high = ::fcntl(fd, F_DUPFD, 10);
      ::dup2(high, 3);
      ::setenv("LISTEN_FDS", "1", 1);
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    });
    EXPECT_EQ(ask().status, "200"); /* it waits in the backlog until then */
    EXPECT_EQ(ask("", "POST /metrics").status, "405");
    EXPECT_EQ(ask("", "GET /nothing").status, "404");
    Answer head = ask("", "HEAD /metrics");
    EXPECT_EQ(head.status, "200");
    EXPECT_EQ(head.body, "");
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  ::close(fd);
  ::unlink(kPath);
}

TEST_F(ExporterCommand, RefusesWhereItCannotListen) {
  for (const char* where : {"here", "localhost", "127.0.0.1", ":80", "127.0.0.1:http"})
    fails({"exporter", "--listen", where}, 1, {"cannot listen on", where, "ADDR:PORT"});
  fails({"exporter", "--listen", "unix:run/x"}, 1, {"unix:run/x", "from /"});
  fails({"exporter", "--listen", "unix:/etc/passwd"}, 1, {"/etc/passwd", "no socket"});
  fails({"exporter", "--depth", "-1"}, 2, {"--depth"});
  Piped server(command());
  wait_for_it();
  fails({"exporter", "--listen", std::string("unix:") + kPath}, 1, {kPath, "another program"});
  server.signal(SIGKILL); /* what it leaves is in nobody's way */
  EXPECT_NE(server.wait(), 0);
  Piped next(command());
  wait_for_it();
  EXPECT_EQ(ask().status, "200");
}

}  // namespace
}  // namespace ctnbpf::test
