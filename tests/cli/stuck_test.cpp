/* Commands whose output nobody reads: the pipe is full, and they must not have the writer lock while they wait. */
#include <sys/file.h>

#include <fstream>

#include "cli_test.h"
#include "tree/lock.h"

namespace ctnbpf::test {
namespace {

/* A pipe with room for so many bytes. */
class FullPipe {
 public:
  explicit FullPipe(std::size_t room = 0) {
    EXPECT_EQ(::pipe2(ends_.data(), O_CLOEXEC), 0);
    int size = ::fcntl(ends_[1], F_SETPIPE_SZ, 4096);
    EXPECT_EQ(size, 4096);
    std::string text(static_cast<std::size_t>(size) - room, '.');
    EXPECT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  ~FullPipe() {
    for (int end : ends_) ::close(end);
  }
  int in() const { return ends_[1]; }

 private:
  std::array<int, 2> ends_ = {};
};

class Stuck : public CliTest {
 protected:
  static Background start(const std::vector<std::string>& args, const FullPipe& pipe) {
    return Background(std::function<int()>([&args, &pipe] {
      std::vector<std::string> argv{ctnbpf_path()};
      argv.insert(argv.end(), args.begin(), args.end());
      ::dup2(pipe.in(), 1);
      ::dup2(pipe.in(), 2);
      exec(argv);
      return 0;
    }));
  }
  /* It waits in write(2), to one of the standard descriptors. */
  static bool is_stuck(const Background& command) {
    std::ifstream file("/proc/" + std::to_string(command.pid()) + "/syscall");
    std::string number;
    std::string fd;
    file >> number >> fd;
    return number == "1" && (fd == "0x1" || fd == "0x2");
  }
  static bool lock_is_free() {
    Background taker([] {
      ::alarm(5);
      return take_writer_lock() ? 0 : 1;
    });
    return taker.wait() == 0;
  }
};

TEST_F(Stuck, NoCommandHasTheLockWhileItPrints) {
  create("default:/a");
  create("default:/b");
  Background task = sleeper("default:/b");
  const std::vector<std::vector<std::string>> commands = {
      {"create", "default:/a"},
      {"create", "default:/new", "default:/a"},
      {"--json", "create", "default:/a"},
      {"rm", "default:/b", "default:/nosuch"},
      {"rename", "default:/a", "b"},
      {"set", "default:/a", "numtasks.limit=x"},
      {"attach", "default:/a", "4194304"},
      {"--json", "kill", "default:/a"},
      {"kill", "-s", "CONT", "--timeout", "0.1", "default:/b"},
      {"run", "--stat", "true"},
      {"--json", "run", "--name", "a", "true"},
      {"hierarchy", "create", "default"},
      {"hierarchy", "create", "other", "--placement", "affinity"},
      {"hierarchy", "destroy", "nosuch"},
      {"fsck"},
      {"up"},
      {"agentd"},
  };
  for (const auto& args : commands) {
    SCOPED_TRACE(line_of(args));
    FullPipe pipe;
    Background command = start(args, pipe);
    EXPECT_TRUE(eventually([&] { return is_stuck(command); }));
    EXPECT_TRUE(lock_is_free());
    command.signal(SIGKILL);
    EXPECT_EQ(command.wait(), 128 + SIGKILL);
  }
  ctnbpf({"hierarchy", "destroy", "other"});
  ctnbpf({"fsck", "--repair"}); /* what a `run` that was killed had made */
}

TEST_F(Stuck, AgentdNeither) {
  set("default:/", {"release_agent=/bin/true"});
  create("default:/a", {"notify_on_release=1"});
  FullPipe pipe(std::string("ctnbpf: agentd is ready\n").size());
  Background agentd = start({"agentd"}, pipe);
  start_in("default:/a", [] { return 0; }).wait();
  EXPECT_TRUE(eventually([&] { return is_stuck(agentd); }));
  EXPECT_TRUE(lock_is_free());
}

}  // namespace
}  // namespace ctnbpf::test
