/* files: who holds what is charged. */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "cli_test.h"
#include "descriptors.h"

namespace ctnbpf::test {
namespace {

class Files : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }
};

/* A process that `start` starts, which opens something and waits. */
Background opener_of(const std::function<Background(const std::function<int()>&)>& start,
                     const std::function<int()>& open) {
  int told[2] = {-1, -1};
  EXPECT_EQ(::pipe(told), 0);
  Background child = start([&] {
    char ok = open() >= 0 ? 'y' : 'n';
    (void)!::write(told[1], &ok, 1);
    return ::pause();
  });
  char ok = 0;
  EXPECT_EQ(::read(told[0], &ok, 1), 1);
  EXPECT_EQ(ok, 'y');
  ::close(told[0]);
  ::close(told[1]);
  return child;
}

TEST_F(Files, ListsPidDescriptorAndPath) {
  create("default:/a");
  create("default:/a/b");
  Background child = opener_of([&](const auto& body) { return start_in("default:/a/b", body); },
                               [] { return ::dup2(::open("/proc/version", O_RDONLY), 77); });
  std::string pid = std::to_string(child.pid());
  EXPECT_NE(out({"files", "default:/a/b"}).find(pid + " 77 /proc/version\n"), std::string::npos);
  EXPECT_EQ(out({"files", "default:/a"}), "") << "its own files only";
  EXPECT_NE(out({"files", "-r", "default:/a"}).find(pid + " 77 /proc/version\n"),
            std::string::npos);
  auto read = json({"files", "-r", "default:/a"});
  EXPECT_EQ(read["files"], 1) << "two descriptors of one file";
  EXPECT_EQ(read["descriptors"].size(), 2u);
  EXPECT_EQ(read["without_descriptor"], 0);
  EXPECT_EQ(read["descriptors"][1]["container"], "default:/a/b");
  EXPECT_EQ(read["descriptors"][1]["holder"], "default:/a/b");
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u);
}

TEST_F(Files, FindsDescriptorsThatLeftTheContainer) {
  create("default:/a");
  create("default:/b");
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Background opener =
      start_in("default:/a", [&] { return send_fd(pair[1], ::eventfd(0, 0)) ? 0 : 1; });
  EXPECT_EQ(opener.wait(), 0);
  EXPECT_EQ(out({"files", "default:/a"}), "- - 1 file without a descriptor\n") << "in flight";
  int fd = receive_fd(pair[0], MSG_CMSG_CLOEXEC);
  std::string line =
      std::to_string(::getpid()) + " " + std::to_string(fd) + " anon_inode:[eventfd]";
  EXPECT_EQ(out({"files", "default:/a"}), line + " (held in default:/)\n");
  ::close(fd);
  EXPECT_EQ(out({"files", "default:/a"}), "");
  ::close(pair[0]);
  ::close(pair[1]);

  Background moved = opener_of([&](const auto& body) { return start_in("default:/a", body); },
                               [] { return ::eventfd(0, 0); });
  attach_pid("default:/b", moved.pid());
  EXPECT_EQ(json({"files", "default:/a"})["descriptors"][0]["holder"], "default:/b");
  EXPECT_EQ(out({"files", "default:/b"}), "");
  fails({"rm", "default:/a"}, 1, {"1 reference held by open files"});
}

TEST_F(Files, CountsWhatIsOnlyMapped) {
  create("default:/a");
  Background child = opener_of([&](const auto& body) { return start_in("default:/a", body); },
                               [] {
                                 return ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS,
                                               -1, 0) == MAP_FAILED
                                            ? -1
                                            : 0;
                               });
  EXPECT_EQ(out({"files", "default:/a"}), "- - 1 file without a descriptor\n");
  EXPECT_EQ(json({"files", "default:/a"})["without_descriptor"], 1);
}

TEST_F(Files, RunLimitsTheFilesOfACommand) {
  Output refused = ctnbpf({"run", "--numfiles", "20", "--", "perl", "-e",
                           "while (open my $f, '<', '/dev/null') { push @f, $f } "
                           "print \"$! \", @f < 20 && @f > 5 ? 'ok' : scalar @f, \"\\n\"; @f = (); "
                           "open my $f, '<', '/dev/null' or die; print \"again\\n\""});
  EXPECT_EQ(refused.code, 0) << refused.err;
  EXPECT_EQ(refused.out, "Too many open files in system ok\nagain\n");
  EXPECT_EQ(json({"tree", "-a"}).dump().find("run-"), std::string::npos) << "removed at its end";
}

}  // namespace
}  // namespace ctnbpf::test
