/* numfiles over real files: the promises of subsystems/numfiles/numfiles.cpp. What is charged once is
 * in numfiles_kinds_test.cpp. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "ctnbpf/events.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "descriptors.h"
#include "kernel_test.h"
#include "ctnbpf/service.h"
#include "numfiles/numfiles_ops.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

/* Opens up to `most` files; how many there are, with errno of the failure. */
int open_many(int most) {
  int count = 0;
  errno = 0;
  while (count < most && ::eventfd(0, 0) >= 0) count++;
  return count;
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

TEST_F(Numfiles, AFileStaysChargedWhereItWasOpened) {
  create("default:/a");
  create("default:/b");
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Background opener = start_in("default:/a", [&] {
    char next = 0;
    for (int fd = ::eventfd(0, 0); ::write(pair[1], "o", 1) == 1;) {
      if (::read(pair[1], &next, 1) != 1 || next == 'q') return 0;
      ::close(std::exchange(fd, ::eventfd(0, 0)));
    }
    return 1;
  });
  char opened = 0;
  ASSERT_EQ(::read(pair[0], &opened, 1), 1);
  attach_pid("default:/b", opener.pid());
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u);
  EXPECT_EQ(number("default:/b", "numfiles.held"), 0u);
  ASSERT_EQ(::write(pair[0], "n", 1), 1); /* opens the next, closes the first */
  ASSERT_EQ(::read(pair[0], &opened, 1), 1);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_EQ(number("default:/b", "numfiles.held"), 1u);
  ASSERT_EQ(::write(pair[0], "q", 1), 1);
  EXPECT_EQ(opener.wait(), 0);
  ::close(pair[0]);
  ::close(pair[1]);
}

/* In a user namespace of one's own everybody has CAP_SYS_ADMIN; it is worth nothing here. */
TEST_F(Numfiles, TheLimitIsNotForRootOfAUserNamespace) {
  create("default:/a", {"numfiles.barrier=10", "numfiles.limit=14"});
  Background user = start_in("default:/a", [] {
    if (::setresuid(1000, 1000, 1000) != 0) return 2;
    if (::unshare(CLONE_NEWUSER) != 0) return 77;
    return open_many(100) == 10 && errno == ENFILE ? 0 : 1;
  });
  int code = user.wait();
  if (code == 77) GTEST_SKIP() << "no user namespaces for ordinary users here";
  EXPECT_EQ(code, 0);
}

/* A refused accept takes nothing from the queue: the connection is there when files are closed. */
TEST_F(Numfiles, ARefusedAcceptLosesNoConnection) {
  create("default:/a", {"numfiles.ceiling=4"});
  Background server = start_in("default:/a", [] {
    sockaddr_un address = {AF_UNIX, "\0ctnbpf-test"};
    socklen_t size = sizeof(sa_family_t) + 12;
    int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    int client = ::socket(AF_UNIX, SOCK_STREAM, 0);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener, name, size) != 0 || ::listen(listener, 2) != 0) return 1;
    if (::connect(client, name, size) != 0 || ::write(client, "x", 1) != 1) return 2;
    int spare = ::eventfd(0, 0);
    if (::eventfd(0, 0) < 0) return 3; /* the fourth */
    if (::accept(listener, nullptr, nullptr) != -1 || errno != ENFILE) return 4;
    ::close(spare);
    int accepted = ::accept(listener, nullptr, nullptr);
    char byte = 0;
    return accepted >= 0 && ::read(accepted, &byte, 1) == 1 && byte == 'x' ? 0 : 5;
  });
  EXPECT_EQ(server.wait(), 0);
  EXPECT_TRUE(back_to_zero("default:/a"));
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
  constexpr int kRoom = 2048;
  ASSERT_TRUE(take_down(pins(), true).has_value());
  LoadSettings small;
  small.max_files = kRoom;
  ASSERT_TRUE(bring_up(pins(), small).has_value());
  rlimit many = {16384, 16384};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &many), 0);
  int opened[2] = {-1, -1};
  ASSERT_EQ(::pipe(opened), 0);
  std::vector<Background> members;
  /* A member of `address` that opens until it is refused, or `most` are open; how many are. */
  auto open_in = [&](const std::string& address, int most) {
    members.push_back(start_in(address, [&opened, most] {
      int count = open_many(most);
      (void)!::write(opened[1], &count, sizeof(count));
      return ::pause();
    }));
    int count = -1;
    EXPECT_EQ(::read(opened[0], &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    return count;
  };
  auto missed = [&](ctn_miss what) { return load(state().core().misses[what]); };

  /* One that has no limit gets its own part and all that is lent, and others get theirs. */
  ctn_lending lending = state().core().lending[CTN_LEND_FILES];
  auto own = static_cast<int>(lending.own);
  auto bounded = static_cast<int>(lending.bounded);
  create("default:/greedy");
  create("default:/other");
  create("default:/bound", {"numfiles.ceiling=" + std::to_string(bounded)});
  create("default:/bound/below");
  EXPECT_EQ(open_in("default:/greedy", 4 * kRoom), own + static_cast<int>(lending.most));
  EXPECT_GT(missed(CTN_MISS_FILE_LENT), 0u);
  EXPECT_EQ(number("default:/greedy", "numfiles.failcnt"), 0u) << "counted apart";
  EXPECT_EQ(open_in("default:/bound/below", 4 * kRoom), bounded);
  EXPECT_EQ(open_in("default:/other", 4 * kRoom), own);
  EXPECT_EQ(missed(CTN_MISS_FILE_TABLE_FULL), 0u);
  members.clear();
  for (const char* address : {"default:/greedy", "default:/other", "default:/bound"})
    EXPECT_TRUE(back_to_zero(address));
  EXPECT_EQ(load(state().core().lending[CTN_LEND_FILES].lent), 0u);

  /* Each within its limit, and all together more than there is room for. */
  int count = 0;
  for (int i = 0; i < 8; i++) {
    std::string address = "default:/" + std::to_string(i);
    create(address, {"numfiles.ceiling=" + std::to_string(bounded)});
    count += open_in(address, bounded);
  }
  EXPECT_GE(count, kRoom) << "as many as promised";
  EXPECT_GT(missed(CTN_MISS_FILE_TABLE_FULL), 0u);
  Background outside([] { return open_many(4 * kRoom) == 4 * kRoom ? 0 : 1; });
  EXPECT_EQ(outside.wait(), 0);
  members.clear();
  for (int i = 0; i < 8; i++) EXPECT_TRUE(back_to_zero("default:/" + std::to_string(i)));
  ::close(opened[0]);
  ::close(opened[1]);
  ASSERT_TRUE(take_down(pins(), true).has_value());
}

/* One of eight openers of a storm: opens of several kinds, some of which are passed to the others, who
 * may be in another container; some are never closed, and left to the limit and the end. */
void open_in_a_storm(int self, int count, const int* pair) {
  for (int n = 0; n < count; n++) {
    int ends[2] = {-1, -1};
    int fd = -1;
    switch ((n + self) % 8) {
      case 0: fd = ::eventfd(0, 0); break;
      case 1: fd = ::memfd_create("storm", 0); break;
      case 2: fd = ::open("/dev/null", O_PATH); break;
      case 3: fd = ::socket(AF_UNIX, SOCK_DGRAM, 0); break;
      case 4: fd = ::timerfd_create(CLOCK_MONOTONIC, 0); break;
      case 5: fd = ::open("/proc/self/stat", O_RDONLY); break;
      case 6: fd = ::epoll_create1(0); break;
      default:
        if (::pipe(ends) == 0) fd = ends[0];
    }
    if (fd >= 0 && n % 16 == 0) (void)send_fd(pair[0], fd, MSG_DONTWAIT);
    if (n % 16 == 8)
      if (int got = receive_fd(pair[1], MSG_DONTWAIT); got >= 0) ::close(got);
    if (n % 64 != 0) ::close(fd);
    if (ends[1] >= 0) ::close(ends[1]);
  }
}

/* The number of opens is that of CTNBPF_STORM_FILES; the openers are moved all the time, and two are
 * killed in the middle. */
TEST_F(Numfiles, AStormLeavesNothingCharged) {
  constexpr int kOpeners = 8;
  const char* text = std::getenv("CTNBPF_STORM_FILES");
  const int each = (text != nullptr ? std::atoi(text) : 40'000) / kOpeners;
  create("default:/a", {"numfiles.ceiling=30"});
  create("default:/a/x");
  create("default:/b");
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  std::vector<Background> openers;
  for (int i = 0; i < kOpeners; i++)
    openers.push_back(start_in(i % 2 == 0 ? "default:/a/x" : "default:/b", [&, i] {
      open_in_a_storm(i, each, pair);
      return 0;
    }));
  EXPECT_TRUE(eventually([&] { return number("default:/a", "numfiles.events") > 0; }));
  const Slot places[] = {slot("default:/a/x"), slot("default:/b")};
  long moves = 0;
  Repeating mover([&] {
    auto writer = Writer::open(pins());
    if (!writer) return;
    const Background& one = openers[2 + moves % (kOpeners - 2)];
    (void)attach(*writer, places[moves++ / (kOpeners - 2) % 2], one.pid(), false);
  });
  openers[0].signal(SIGKILL);
  openers[1].signal(SIGKILL);
  for (Background& one : openers) one.wait();
  mover.stop();
  EXPECT_GT(moves, 0);
  EXPECT_LE(number("default:/a", "numfiles.maxheld"), 30u);
  /* What is left is in flight; whoever held anything is gone. */
  auto left = charged_files(state());
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->size(),
            number("default:/a", "numfiles.held") + number("default:/b", "numfiles.held"));
  ::close(pair[0]);
  ::close(pair[1]);
  EXPECT_TRUE(back_to_zero("default:/a"));
  EXPECT_TRUE(back_to_zero("default:/b"));
  EXPECT_EQ(number("default:/a/x", "numfiles.held"), 0u);
  EXPECT_TRUE(charged_files(state())->empty());
  std::printf("%d opens, %ld moves, %ju refused, held 0\n", each * kOpeners, moves,
              number("default:/a", "numfiles.events"));
}

}  // namespace
}  // namespace ctnbpf::test
