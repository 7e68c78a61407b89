/* numfiles over real files: the promises of subsystems/numfiles/numfiles.cpp. What is charged once is
 * in numfiles_kinds_test.cpp. */
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctnbpf/events.h"
#include "kernel_test.h"
#include "loader.h"
#include "numfiles/numfiles_ops.h"

namespace ctnbpf::test {
namespace {

/* Opens up to `most` files; how many there are, with errno of the failure. */
int open_many(int most) {
  int count = 0;
  errno = 0;
  while (count < most && ::eventfd(0, 0) >= 0) count++;
  return count;
}

bool send_fd(int socket, int fd, int flags = 0) {
  char byte = 'f';
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return ::sendmsg(socket, &message, flags) == 1;
}

int receive_fd(int socket, int flags = 0) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (::recvmsg(socket, &message, flags) != 1 || CMSG_FIRSTHDR(&message) == nullptr) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  return fd;
}

class Numfiles : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }
  bool back_to_zero(const std::string& address) {
    return eventually([&] { return number(address, "numfiles.held") == 0; });
  }
};

TEST_F(Numfiles, TheBarrierHoldsOrdinaryTasksAndTheLimitPrivilegedOnes) {
  create("default:/a", {"numfiles.barrier=10", "numfiles.limit=14"});
  Background root =
      start_in("default:/a", [] { return open_many(100) == 14 && errno == ENFILE ? 0 : 1; });
  EXPECT_EQ(root.wait(), 0);
  Background user = start_in("default:/a", [] {
    if (::setresuid(1000, 1000, 1000) != 0) return 2;
    if (open_many(100) != 10 || errno != ENFILE) return 1;
    ::close_range(3, ~0U, 0); /* and it carries on when it has closed some */
    return open_many(100) == 10 ? 0 : 3;
  });
  EXPECT_EQ(user.wait(), 0);
  EXPECT_EQ(number("default:/a", "numfiles.failcnt"), 3u);
  EXPECT_EQ(number("default:/a", "numfiles.events"), 3u);
  EXPECT_EQ(number("default:/a", "numfiles.maxheld"), 14u);
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(Numfiles, AnAncestorBindsAndIsNamedAndNothingStaysCharged) {
  create("default:/a", {"numfiles.ceiling=5"});
  create("default:/a/b");
  create("default:/a/b/c", {"numfiles.ceiling=50"});
  auto reader = EventReader::open(pins(), EventReader::From::kNow);
  ASSERT_TRUE(reader.has_value());
  Background child = start_in("default:/a/b/c", [] {
    if (open_many(100) != 5 || errno != ENFILE) return 1;
    ::close(STDIN_FILENO + 100); /* nothing half-open: the next pipe fails as a whole */
    int ends[2] = {-1, -1};
    return ::pipe(ends) == -1 && errno == ENFILE && ends[0] == -1 ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a", "numfiles.events"), 2u);
  EXPECT_EQ(number("default:/a", "numfiles.failcnt"), 0u);
  EXPECT_EQ(number("default:/a/b/c", "numfiles.failcnt"), 2u);
  EXPECT_EQ(number("default:/a/b/c", "numfiles.maxheld"), 5u);
  EXPECT_TRUE(back_to_zero("default:/a"));
  auto event = reader->next();
  while (event && event->kind != CTN_EVENT_FILE_REFUSED) event = reader->next();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->slot, slot("default:/a/b/c"));
  EXPECT_EQ(event->by_slot, slot("default:/a"));
}

TEST_F(Numfiles, FlatCountsInTheOwnContainerOnly) {
  set("default:/", {"numfiles.flat=1"});
  create("default:/a", {"numfiles.ceiling=5"});
  create("default:/a/b");
  Background child = start_in("default:/a/b", [] { return open_many(20) == 20 ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(number("default:/a/b", "numfiles.maxheld"), 20u);
  EXPECT_EQ(number("default:/a", "numfiles.maxheld"), 0u);
  EXPECT_TRUE(back_to_zero("default:/a/b"));
}

TEST_F(Numfiles, BarrierIsNeverAboveLimit) {
  create("default:/a", {"numfiles.barrier=10"});
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  auto at = tree::find(*writer, "default:/a");
  ASSERT_TRUE(at.has_value());
  auto low = set_attributes(*writer, *at, {"numfiles.limit=9"}, false);
  ASSERT_FALSE(low.has_value());
  EXPECT_EQ(low.error().code, EINVAL);
  EXPECT_NE(low.error().what.find("set the barrier first"), std::string::npos) << low.error().what;
  EXPECT_TRUE(set_attributes(*writer, *at, {"numfiles.limit=10\n"}, false).has_value());
  auto high = set_attributes(*writer, *at, {"numfiles.barrier=11"}, false);
  ASSERT_FALSE(high.has_value());
  EXPECT_NE(high.error().what.find("set the limit first"), std::string::npos) << high.error().what;
  EXPECT_TRUE(set_attributes(*writer, *at, {"numfiles.limit=30", "numfiles.barrier=20"}, false)
                  .has_value());
}

/* The opener is gone, the file is not: it stays charged, and holds its container. */
TEST_F(Numfiles, AFileHoldsItsContainerUntilItsLastClose) {
  create("default:/a");
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Background opener =
      start_in("default:/a", [&] { return send_fd(pair[1], ::eventfd(0, 0)) ? 0 : 1; });
  EXPECT_EQ(opener.wait(), 0);
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u) << "in flight";
  int fd = receive_fd(pair[0]);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u);
  auto seen = walk_files(pins());
  ASSERT_TRUE(seen.has_value());
  ASSERT_EQ(seen->size(), 1u);
  EXPECT_EQ(seen->front().tgid, static_cast<std::uint32_t>(::getpid()));
  EXPECT_EQ(seen->front().fd, static_cast<std::uint32_t>(fd));
  auto reader = EventReader::open(pins(), EventReader::From::kNow);
  ASSERT_TRUE(reader.has_value());
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    auto at = tree::find(*writer, "default:/a");
    ASSERT_TRUE(at.has_value());
    auto busy = tree::remove(*writer, *at, false);
    ASSERT_FALSE(busy.has_value());
    EXPECT_EQ(busy.error().code, EBUSY);
    EXPECT_NE(busy.error().what.find("1 reference held by open files"), std::string::npos)
        << busy.error().what;
    ASSERT_TRUE(tree::remove(*writer, *at, true).has_value());
  }
  ::close(fd);
  EXPECT_TRUE(eventually([&] {
    while (auto event = reader->next())
      if (event->kind == CTN_EVENT_GONE) return true;
    return false;
  }));
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST_F(Numfiles, ExecNearTheLimitFailsCleanly) {
  create("default:/a", {"numfiles.ceiling=3"});
  Background child = start_in("default:/a", [] {
    if (open_many(10) != 3) return 1;
    ::execl("/bin/true", "true", nullptr);
    return errno == ENFILE ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/a"));
}

TEST_F(Numfiles, AFullTableRefusesMembersAndNobodyElse) {
  ASSERT_TRUE(take_down(pins(), true).has_value());
  LoadSettings small;
  small.max_files = 64;
  ASSERT_TRUE(bring_up(pins(), small).has_value());
  create("default:/a");
  int full[2] = {-1, -1};
  ASSERT_EQ(::pipe(full), 0);
  Background member = start_in("default:/a", [&] {
    int count = open_many(400);
    char ok = errno == ENFILE && count >= 64 ? 'f' : 'x';
    (void)!::write(full[1], &ok, 1);
    ::pause();
    return 0;
  });
  char told = 0;
  ASSERT_EQ(::read(full[0], &told, 1), 1);
  EXPECT_EQ(told, 'f');
  EXPECT_GT(load(state().core().misses[CTN_MISS_FILE_TABLE_FULL]), 0u);
  EXPECT_EQ(number("default:/a", "numfiles.failcnt"), 0u) << "counted apart";
  Background outside([] { return open_many(500) == 500 ? 0 : 1; });
  EXPECT_EQ(outside.wait(), 0);
  member.signal(SIGKILL);
  member.wait();
  EXPECT_TRUE(back_to_zero("default:/a"));
  ::close(full[0]);
  ::close(full[1]);
  ASSERT_TRUE(take_down(pins(), true).has_value());
}

/* Opens of several kinds, descriptors passed between containers, kill -9 in the middle. The number of
 * opens is that of CTNBPF_STORM_FILES. */
TEST_F(Numfiles, AStormLeavesNothingCharged) {
  const char* text = std::getenv("CTNBPF_STORM_FILES");
  const int each = (text != nullptr ? std::atoi(text) : 40'000) / 8;
  create("default:/a", {"numfiles.ceiling=300"});
  create("default:/a/x");
  create("default:/b");
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  std::vector<Background> openers;
  for (int i = 0; i < 8; i++)
    openers.push_back(start_in(i % 2 == 0 ? "default:/a/x" : "default:/b", [&, i] {
      for (int n = 0; n < each; n++) {
        int ends[2] = {-1, -1};
        int fd = -1;
        switch ((n + i) % 4) {
          case 0: fd = ::eventfd(0, 0); break;
          case 1: fd = ::memfd_create("storm", 0); break;
          case 2: fd = ::open("/dev/null", O_PATH); break;
          default:
            if (::pipe(ends) == 0) fd = ends[0];
        }
        if (fd >= 0 && n % 16 == 0) (void)send_fd(pair[0], fd, MSG_DONTWAIT);
        if (n % 16 == 8)
          if (int got = receive_fd(pair[1], MSG_DONTWAIT); got >= 0) ::close(got);
        if (n % 64 != 0) ::close(fd); /* the others are left to the exit, or to the limit */
        if (ends[1] >= 0) ::close(ends[1]);
      }
      return 0;
    }));
  EXPECT_TRUE(eventually([&] { return number("default:/a/x", "numfiles.maxheld") > 10; }));
  openers[0].signal(SIGKILL);
  openers[1].signal(SIGKILL);
  for (Background& one : openers) one.wait();
  EXPECT_LE(number("default:/a", "numfiles.maxheld"), 300u);
  ::close(pair[0]);
  ::close(pair[1]);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_TRUE(back_to_zero("default:/b"));
  EXPECT_EQ(number("default:/a/x", "numfiles.held"), 0u);
}

}  // namespace
}  // namespace ctnbpf::test
