/* Clients that do everything at once, while the server is killed and started again. */
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

/* One thing or another below `top`: its errno. */
int any_of_it(const std::string& top, std::minstd_rand& random) {
  auto name = [&] { return top + "/" + std::to_string(random() % 6); };
  switch (random() % 8) {
    case 0: return code_of(::mkdir(name().c_str(), 0755));
    case 1: return code_of(::rmdir(name().c_str()));
    case 2: return code_of(::rename(name().c_str(), name().c_str()));
    case 3: return write_to(name() + "/tasks", "0");
    case 4: return write_to(top + "/tasks", "0");
    case 5: return write_to(name() + "/notify_on_release", "1");
    case 6: {
      std::error_code error;
      for (std::filesystem::directory_iterator at(name(), error), end; !error && at != end;
           at.increment(error)) {
      }
      return error.value();
    }
    default: {
      int fd = ::open((name() + "/procs").c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0) return errno;
      char text[256];
      int code = code_of(::read(fd, text, sizeof(text)));
      ::close(fd);
      return code;
    }
  }
}

class MountStorm : public CliTest {};

TEST_F(MountStorm, WhileTheServerIsKilled) {
  constexpr int kClients = 8;
  constexpr int kKills = 8;
  constexpr std::uint64_t kMore = 100; /* operations between two kills */
  create("default:/s");
  Mounted fs({"default"});
  /* What there is no such thing for, what is in use, what was removed meanwhile; no server. */
  const std::set<int> documented = {0,      ENOENT,   EEXIST,       EBUSY,
                                    ENODEV, ENOTCONN, ECONNABORTED, EINVAL};
  std::atomic<std::uint64_t> done = 0;
  std::atomic<std::uint64_t> answered = 0;
  std::atomic<bool> end = false;
  std::atomic<int> other = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; i++)
    clients.emplace_back([&, i] {
      std::minstd_rand random(static_cast<unsigned>(i + 1));
      while (!end) {
        int code = any_of_it(fs / "s", random);
        if (!documented.contains(code)) other = code;
        if (code == 0) answered++;
        done++;
      }
      EXPECT_EQ(write_to(fs / "tasks", "0"), 0);
    });
  for (int i = 0; i < kKills; i++) {
    std::uint64_t before = answered;
    EXPECT_TRUE(eventually([&] { return answered > before + kMore; }));
    ::kill(fs.server(), SIGKILL);
    EXPECT_TRUE(
        eventually([&] { return code_of(::access((fs / "s").c_str(), F_OK)) == ENOTCONN; }));
    EXPECT_EQ(fs.mount({"default"}).err, "");
  }
  end = true;
  for (std::thread& one : clients) one.join();
  EXPECT_EQ(other, 0) << std::strerror(other);
  EXPECT_GT(done, answered);
  EXPECT_EQ(out({"ps", "-r", "default:/s", "--threads"}), "");
  out({"fsck"});
  out({"rm", "-r", "default:/s"});
}

}  // namespace
}  // namespace ctnbpf::test
