/* A real server at its limit: nginx in a container, with clients outside of it. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kPort = 18080;

int connect_to_server() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0)
    return fd;
  ::close(fd);
  return -1;
}

/* Asks for the page and keeps the connection; false if no answer begins within the time. */
bool ask(int fd, int milliseconds) {
  const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return false;
  pollfd one = {fd, POLLIN, 0};
  if (::poll(&one, 1, milliseconds) != 1) return false;
  char answer[512] = {};
  ssize_t got = ::recv(fd, answer, sizeof(answer) - 1, 0);
  return got > 0 && std::string_view(answer).starts_with("HTTP/1.1 200");
}

class Nginx : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    need_level(CTN_LEVEL_FALLBACK);
    if (IsSkipped() || HasFatalFailure()) return;
    if (::access("/usr/sbin/nginx", X_OK) != 0) CTN_SKIP("nginx is not installed");
    dir_ = fs::temp_directory_path() / "ctnbpf-nginx";
    fs::remove_all(dir_);
    fs::create_directories(dir_ / "html");
    fs::permissions(dir_, fs::perms(0755));
    std::ofstream(dir_ / "html/index.html") << "hello\n";
    std::ofstream(dir_ / "nginx.conf")
        << "daemon off; worker_processes 1; pid " << dir_.string() << "/pid; error_log "
        << log().string() << ";\n"
        << "events { worker_connections 256; }\n"
        << "http { access_log off; server { listen 127.0.0.1:" << kPort << "; root "
        << dir_.string() << "/html; } }\n";
  }
  void TearDown() override {
    if (!dir_.empty()) fs::remove_all(dir_);
    CliTest::TearDown();
  }

  fs::path log() const { return dir_ / "error.log"; }
  std::string logged() const {
    std::ifstream file(log());
    return (std::stringstream() << file.rdbuf()).str();
  }

  /* The processes of the container have descriptors of these files, and of no others that they
   * opened: what /proc shows but for 0, 1 and 2, which they were given. */
  void expect_files_as_in_proc() {
    std::set<std::pair<int, int>> ours;
    auto listed = json({"files", "numfiles:/web"});
    for (const auto& one : listed["descriptors"])
      ours.emplace(one["pid"].get<int>(), one["fd"].get<int>());
    std::set<std::pair<int, int>> proc;
    std::istringstream pids(out({"ps", "numfiles:/web"}));
    for (int pid = 0; pids >> pid;)
      for (const auto& one : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
        if (int fd = std::stoi(one.path().filename()); fd > 2) proc.insert({pid, fd});
    std::erase_if(ours, [](const auto& one) { return one.second <= 2; }); /* the log, as stderr */
    EXPECT_EQ(ours, proc);
    EXPECT_EQ(
        listed["files"].get<std::uint64_t>() + listed["without_descriptor"].get<std::uint64_t>(),
        number("numfiles:/web", "numfiles.held"));
  }

 private:
  fs::path dir_;

 protected:
  std::string config() const { return (dir_ / "nginx.conf").string(); }
};

TEST_F(Nginx, SaysTooManyOpenFilesAndRecovers) {
  out({"create", "numfiles:/web"});
  Background server({ctnbpf_path(), "run", "-c", "numfiles:/web", "--", "nginx", "-c", config()});
  int first = -1;
  ASSERT_TRUE(eventually([&] { return (first = connect_to_server()) >= 0; })) << logged();
  ASSERT_TRUE(ask(first, 20'000)) << logged();
  expect_files_as_in_proc();

  std::uint64_t idle = number("numfiles:/web", "numfiles.held");
  std::uint64_t most = idle + 20;
  out({"set", "numfiles:/web", "numfiles.ceiling=" + std::to_string(most)});
  std::vector<int> clients; /* connected as far as the kernel goes; nginx has to accept them */
  for (int i = 0; i < 60; i++) clients.push_back(connect_to_server());
  EXPECT_TRUE(eventually([&] {
    return logged().find("accept4() failed (23: Too many open files in system)") !=
           std::string::npos;
  })) << logged();
  EXPECT_GT(number("numfiles:/web", "numfiles.failcnt"), 0u);
  EXPECT_EQ(number("numfiles:/web", "numfiles.maxheld"), most);
  EXPECT_LE(number("numfiles:/web", "numfiles.held"), most);
  expect_files_as_in_proc();

  for (int fd : clients) ::close(fd);
  /* nginx tries again half a second after a refusal. */
  int last = -1;
  EXPECT_TRUE(eventually([&] {
    ::close(last);
    last = connect_to_server();
    return last >= 0 && ask(last, 2000);
  })) << logged();
  ::close(last);
  EXPECT_TRUE(eventually([&] { return number("numfiles:/web", "numfiles.held") == idle; }));
  ::close(first);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
  EXPECT_TRUE(eventually([&] { return number("numfiles:/web", "numfiles.held") == 0; }));
}

}  // namespace
}  // namespace ctnbpf::test
