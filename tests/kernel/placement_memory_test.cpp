/* memset on a machine of several nodes: where pages are, by /proc/PID/numa_maps. Everything here needs
 * two nodes and is skipped on one: scripts/vm --numa 2. */
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>

#include "placement/kind.h"
#include "placement_test.h"

namespace ctnbpf::test {
namespace {

constexpr std::size_t kBytes = 8 * 1024 * 1024;
constexpr std::size_t kPages = kBytes / 4096;

/* A process that maps and touches kBytes whenever it is told to. */
class Allocator {
 public:
  Allocator() {
    EXPECT_EQ(::pipe(ask_.data()), 0);
    EXPECT_EQ(::pipe(answer_.data()), 0);
    child_.emplace([this] {
      for (char go = 0; ::read(ask_[0], &go, 1) == 1;) {
        void* at =
            ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ::madvise(at, kBytes, MADV_NOHUGEPAGE);
        std::memset(at, 1, kBytes);
        if (::write(answer_[1], &at, sizeof(at)) != sizeof(at)) return 1;
      }
      return 0;
    });
  }
  ~Allocator() {
    for (int fd : {ask_[0], ask_[1], answer_[0], answer_[1]}) ::close(fd);
  }
  pid_t pid() const { return child_->pid(); }

  /* Where the memory is that it allocated now. */
  std::uintptr_t allocate() const {
    std::uintptr_t at = 0;
    EXPECT_EQ(::write(ask_[1], "g", 1), 1);
    EXPECT_EQ(::read(answer_[0], &at, sizeof(at)), static_cast<ssize_t>(sizeof(at)));
    return at;
  }

  /* Pages of what begins at `at`, by node: "N1=2048". A mapping may have been merged with another. */
  std::string pages(std::uintptr_t at) const {
    std::ifstream file(fmt::format("/proc/{}/numa_maps", pid()));
    for (std::string line; std::getline(file, line);) {
      if (line.rfind(fmt::format("{:x} ", at), 0) != 0) continue;
      std::istringstream words(line);
      std::string out;
      for (std::string word; words >> word;)
        if (word.size() > 2 && word[0] == 'N' && std::isdigit(word[1]) != 0)
          out += (out.empty() ? "" : " ") + word;
      return out;
    }
    return "no mapping";
  }

 private:
  std::array<int, 2> ask_ = {};
  std::array<int, 2> answer_ = {};
  std::optional<Background> child_;
};

std::string all_on(int node) { return fmt::format("N{}={}", node, kPages); }

class Memset : public PlacementTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PlacementTest::SetUp();
    if (IsSkipped()) return;
    if (kNodes.online().count() < 2) GTEST_SKIP() << "needs two memory nodes";
    use_driver(GetParam());
  }
  bool by_group() const { return std::string(GetParam()) == "cgroup"; }
};
INSTANTIATE_TEST_SUITE_P(Placement, Memset, ::testing::Values("affinity", "cgroup"),
                         [](const auto& one) { return std::string(one.param); });

/* Pages move when memory_migrate is 1: with the task, and with the set. */
TEST_P(Memset, PagesMove) {
  create("p:/a", {"memset.mems=0", "memset.memory_migrate=1"});
  create("p:/b", {"memset.mems=1", "memset.memory_migrate=1"});
  Allocator task;
  attach_pid("p:/a", task.pid());
  std::uintptr_t at = task.allocate();
  attach_pid("p:/b", task.pid());
  EXPECT_EQ(task.pages(at), all_on(1));
  set("p:/b", {"memset.mems=0"});
  EXPECT_EQ(task.pages(at), all_on(0));
}

/* ... and stay when it is 0, under affinity; the controller of cgroup v2 moves them always. */
TEST_P(Memset, PagesStay) {
  create("p:/a", {"memset.mems=0", "memset.memory_migrate=1"});
  create("p:/b", {"memset.mems=1"});
  Allocator task;
  attach_pid("p:/a", task.pid());
  std::uintptr_t at = task.allocate();
  std::string before = task.pages(at);
  attach_pid("p:/b", task.pid());
  EXPECT_EQ(task.pages(at), by_group() ? all_on(1) : before);
}

/* New memory comes from the set: for what `run` starts, and by groups for whoever is attached. */
TEST_P(Memset, NewMemoryComesFromTheSet) {
  for (int node : {0, 1}) {
    auto run = ctnbpf(
        {"run", "--mems", std::to_string(node), "--", "awk",
         "{ for (i = 2; i <= NF; i++) if ($i ~ /^anon=/) anon = 1; else if ($i ~ /^N[0-9]+=/ && anon) "
         "print substr($i, 1, index($i, \"=\") - 1); anon = 0 }",
         "/proc/self/numa_maps"});
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_NE(run.out, "");
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) EXPECT_EQ(line, fmt::format("N{}", node));
  }
  if (!by_group()) return;
  create("p:/a", {"memset.mems=1"});
  Allocator task;
  attach_pid("p:/a", task.pid());
  EXPECT_EQ(task.pages(task.allocate()), all_on(1));
  set("p:/a", {"memset.mems=0"});
  std::uintptr_t at = task.allocate();
  EXPECT_NE(task.pages(at).find("N0="), std::string::npos);
  EXPECT_EQ(task.pages(at).find("N1="), std::string::npos);
}

TEST_P(Memset, Rules) {
  create("p:/a", {"memset.mems=0-1"});
  create("p:/a/x", {"memset.mems=0"});
  create("p:/a/y");
  EXPECT_EQ(text("p:/a", "memset.mems"), "0-1");
  EXPECT_EQ(text("p:/a/x", "memset.effective_mems"), "0");
  EXPECT_EQ(text("p:/a/y", "memset.effective_mems"), "0-1");
  EXPECT_EQ(try_set("p:/a", "memset.mems=1"), EBUSY);
  EXPECT_EQ(try_set("p:/a", "memset.mem_exclusive=1"), 0);
  EXPECT_EQ(try_set("p:/a/x", "memset.mem_exclusive=1"), 0);
  EXPECT_EQ(try_set("p:/a/y", "memset.mems=0"), EINVAL);
  EXPECT_EQ(try_set("p:/a/y", "memset.mems=1"), 0);
  EXPECT_EQ(try_set("p:/a/y", "memset.mems=1000"), EINVAL);
}

}  // namespace
}  // namespace ctnbpf::test
