/* Clients that do everything at once, while the server is killed and started again. */
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <optional>
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

/* CTNBPF_LONG_STORM=1: as many as the promise is of; else a short form of it. */
bool is_long() { return std::getenv("CTNBPF_LONG_STORM") != nullptr; }

struct Client {
  std::thread thread;
  std::atomic<std::uint64_t> answered = 0; /* other than by ENOTCONN: the server has heard of it */
  std::atomic<bool> ended = false;
};

class MountStorm : public CliTest {
 protected:
  static constexpr std::uint64_t kLimit = 40;
  /* Forks for ever; below a limit where that holds, else a few at a time. */
  Background fork_bomb() {
    limit("default:/bomb", std::to_string(kLimit));
    bool held = level() >= CTN_LEVEL_FALLBACK;
    return start_in("default:/bomb", [held] {
      for (;;) {
        for (int i = 0; i < 4; i++)
          if (pid_t child = ::fork(); child == 0 && !held) ::_exit(0);
        while (::waitpid(-1, nullptr, held ? WNOHANG : 0) > 0) {
        }
      }
      return 0;
    });
  }
};

TEST_F(MountStorm, WhileTheServerIsKilled) {
  const int clients_wanted = is_long() ? 16 : 8;
  const int kills = is_long() ? 20 : 4;
  constexpr std::uint64_t kMore = 100; /* operations between two kills */
  create("default:/s");
  create("default:/bomb");
  Mounted fs({"default"});
  std::optional<Background>
      bomb; /* of the long form: on two emulated CPUs nobody else gets on beside it */
  if (is_long()) bomb.emplace(fork_bomb());
  /* What there is no such thing for, what is in use, what was removed meanwhile; no server. */
  const std::set<int> documented = {0,      ENOENT,   EEXIST,       EBUSY,
                                    ENODEV, ENOTCONN, ECONNABORTED, EINVAL};
  std::atomic<std::uint64_t> done = 0;
  std::atomic<std::uint64_t> answered = 0;
  std::atomic<bool> end = false;
  std::atomic<int> other = 0;
  std::deque<Client> clients(static_cast<std::size_t>(clients_wanted));
  for (std::size_t i = 0; i < clients.size(); i++)
    clients[i].thread = std::thread([&, i] {
      std::minstd_rand random(static_cast<unsigned>(i + 1));
      while (!end) {
        int code = any_of_it(fs / "s", random);
        if (!documented.contains(code)) other = code;
        if (code == 0) answered++;
        if (code != ENOTCONN && code != ECONNABORTED) clients[i].answered++;
        done++;
      }
      EXPECT_EQ(write_to(fs / "tasks", "0"), 0);
      clients[i].ended = true;
    });
  for (int i = 0; i < kills; i++) {
    std::uint64_t before = answered;
    EXPECT_TRUE(eventually([&] { return answered > before + kMore; }, std::chrono::seconds(60)));
    ::kill(fs.server(), SIGKILL);
    EXPECT_TRUE(
        eventually([&] { return code_of(::access((fs / "s").c_str(), F_OK)) == ENOTCONN; }));
    EXPECT_EQ(fs.mount({"default"}).err, "");
    /* No client hangs for good: each gets an answer of the new server. */
    for (Client& one : clients) {
      std::uint64_t had = one.answered;
      EXPECT_TRUE(eventually([&] { return one.answered > had; }, std::chrono::seconds(60)));
    }
  }
  end = true;
  for (Client& one : clients) {
    EXPECT_TRUE(eventually([&] { return one.ended.load(); }, std::chrono::seconds(60)));
    one.thread.join();
  }
  EXPECT_EQ(other, 0) << std::strerror(other);
  EXPECT_GT(done, answered);
  EXPECT_EQ(out({"ps", "-r", "default:/s", "--threads"}), "");
  if (bomb && level() >= CTN_LEVEL_FALLBACK) {
    EXPECT_LE(number("default:/bomb", "numtasks.peak"), kLimit);
    EXPECT_GT(number("default:/bomb", "numtasks.failcnt"), 0u);
  }
  if (bomb) {
    out({"kill", "default:/bomb"});
    bomb->wait();
  }
  out({"fsck"});
  out({"rm", "-r", "default:/s"});
}

}  // namespace
}  // namespace ctnbpf::test
