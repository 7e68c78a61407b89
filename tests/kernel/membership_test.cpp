/* Membership: who is where, at fork, exec, exit and attach. */
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "ctnbpf/confirmed.h"
#include "kernel_test.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Membership : public KernelTest {
 protected:
  std::set<pid_t> members(const std::string& address, bool threads = false) {
    State now = state();
    auto at = tree::find(now, address);
    EXPECT_TRUE(at.has_value());
    auto tasks = walk_tasks(pins());
    EXPECT_TRUE(tasks.has_value()) << tasks.error().what;
    std::set<pid_t> out;
    for (const ctn_walk_task& task : *tasks)
      if (!has_exited(task) && container_of(task, now.nodes()[*at].hierarchy) == *at)
        out.insert(static_cast<pid_t>(threads ? task.tid : task.tgid));
    return out;
  }
};

TEST_F(Membership, NewTasksAreInTheRoot) {
  EXPECT_TRUE(members("default:/").contains(::getpid()));
  create("default:/a");
  EXPECT_TRUE(members("default:/a").empty());
}

/* A task whose number may be another's by now goes back where it was. */
TEST_F(Membership, WhatIsNotConfirmedGoesBack) {
  create("default:/a");
  create("default:/b");
  Background one = start_in("default:/a", [] { return ::pause(); });
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer);
  Slot b = slot("default:/b");
  bool there = false;
  auto done = attach_confirmed(*writer, b, one.pid(), false, [&]() -> Result<void> {
    there = members("default:/b").contains(one.pid());
    return Error{ESRCH, "it is not the one"};
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ESRCH);
  EXPECT_TRUE(there);
  EXPECT_EQ(members("default:/a"), std::set<pid_t>{one.pid()});
  EXPECT_TRUE(members("default:/b").empty());
}

TEST_F(Membership, ChildrenInheritAndStayWhenTheParentMoves) {
  create("default:/a");
  create("default:/b");
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background parent = start_in("default:/a", [&] {
    Sleepers one(1);
    pid_t child = one.pids()[0];
    (void)!::write(out[1], &child, sizeof(child));
    ::pause();
    return 0;
  });
  pid_t child = 0;
  ASSERT_EQ(::read(out[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  EXPECT_EQ(members("default:/a"), (std::set<pid_t>{parent.pid(), child}));
  attach_pid("default:/b", parent.pid());
  EXPECT_EQ(members("default:/a"), std::set<pid_t>{child});
  EXPECT_EQ(members("default:/b"), std::set<pid_t>{parent.pid()});
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  EXPECT_EQ(number("default:/b", "numtasks.current"), 1u);
}

TEST_F(Membership, AttachMovesAllThreadsAndOneThreadAlone) {
  create("default:/a");
  create("default:/b");
  constexpr int kThreads = 50;
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background process([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++) threads.emplace_back([] { ::pause(); });
    auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
    (void)!::write(out[1], &tid, sizeof(tid));
    ::pause();
    return 0;
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(out[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  attach_pid("default:/a", process.pid());
  EXPECT_EQ(members("default:/a", true).size(), kThreads + 1u);
  EXPECT_EQ(number("default:/a", "numtasks.current"), kThreads + 1u);
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(attach(*writer, *tree::find(*writer, "default:/b"), tid, true).has_value());
  }
  EXPECT_EQ(members("default:/b", true), std::set<pid_t>{tid});
  EXPECT_EQ(number("default:/a", "numtasks.current"), kThreads + 0u);
  EXPECT_EQ(number("default:/b", "numtasks.current"), 1u);
}

/* A thread other than the leader that calls exec takes the leader's pid and keeps its container. */
TEST_F(Membership, AThreadThatExecsKeepsItsContainer) {
  create("default:/a");
  create("default:/b");
  std::array<int, 2> out = {};
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  ASSERT_EQ(::pipe(go.data()), 0);
  Background process([&] {
    std::thread other([&] {
      auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
      (void)!::write(out[1], &tid, sizeof(tid));
      char byte = 0;
      (void)!::read(go[0], &byte, 1);
      ::execlp("sleep", "sleep", "1000", nullptr);
    });
    other.join();
    return 1;
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(out[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  attach_pid("default:/a", process.pid());
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(attach(*writer, *tree::find(*writer, "default:/b"), tid, true).has_value());
  }
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  EXPECT_TRUE(eventually([&] { return members("default:/b") == std::set<pid_t>{process.pid()}; }));
  EXPECT_TRUE(eventually([&] { return number("default:/a", "numtasks.current") == 0; }));
  EXPECT_EQ(number("default:/b", "numtasks.current"), 1u);
  EXPECT_EQ(number("default:/b", "tasks"), 1u);
  EXPECT_EQ(number("default:/a", "tasks"), 0u);
}

TEST_F(Membership, SeveralHierarchiesAreIndependent) {
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    for (int i = 1; i < CTN_MAX_HIER; i++)
      ASSERT_TRUE(tree::create_hierarchy(*writer, "h" + std::to_string(i), {}).has_value());
    auto full = tree::create_hierarchy(*writer, "h8", {});
    ASSERT_FALSE(full.has_value());
    EXPECT_EQ(full.error().code, ENOSPC);
  }
  for (int i = 1; i < CTN_MAX_HIER; i++) create("h" + std::to_string(i) + ":/c");
  create("default:/a");
  Background child([] { return ::pause(); });
  attach_pid("default:/a", child.pid());
  attach_pid("h3:/c", child.pid());
  attach_pid("h7:/c", child.pid());
  for (int i = 1; i < CTN_MAX_HIER; i++)
    EXPECT_EQ(members("h" + std::to_string(i) + ":/c").size(), i == 3 || i == 7 ? 1u : 0u) << i;
  EXPECT_EQ(members("default:/a").size(), 1u);
  attach_pid("h3:/", child.pid()); /* back to the root of one */
  EXPECT_TRUE(members("h3:/c").empty());
  EXPECT_EQ(members("h7:/c").size(), 1u);
  EXPECT_EQ(members("default:/a").size(), 1u);
}

/* Wherever a task is in other hierarchies. */
TEST_F(Membership, ANewHierarchyHasEveryTaskInItsRoot) {
  create("default:/a");
  Background contained = start_in("default:/a", [] { return ::pause(); });
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(tree::create_hierarchy(*writer, "new", {}).has_value());
  }
  std::set<pid_t> in_root = members("new:/", true);
  auto tasks = walk_tasks(pins());
  ASSERT_TRUE(tasks.has_value());
  EXPECT_TRUE(in_root.contains(contained.pid()) && in_root.contains(::getpid()) &&
              in_root.contains(::getppid()));
  /* Process 1 too, unless this kernel shows it to no iterator. */
  bool shown = false;
  for (const ctn_walk_task& task : *tasks) {
    shown = shown || task.tgid == 1;
    EXPECT_TRUE(has_exited(task) || container_of(task, 1) == 1) << task.comm;
  }
  if (level() >= CTN_LEVEL_FALLBACK) {
    EXPECT_TRUE(shown);
  }
  EXPECT_EQ(in_root.contains(1), shown);
}

/* What would be refused to the thread that makes the kernel's own threads would be refused to all. */
TEST_F(Membership, TheMakerOfKernelThreadsIsRefused) {
  create("default:/a");
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  Slot a = *tree::find(*writer, "default:/a");
  constexpr pid_t kKthreadd = 2;
  auto is_kthreadd = walk_tasks(pins(), kKthreadd);
  if (!is_kthreadd || is_kthreadd->empty() || is_kthreadd->front().kernel_thread == 0)
    CTN_SKIP("kthreadd is not seen in this pid namespace");
  for (bool tree : {false, true}) {
    auto refused = tree ? attach_tree(*writer, a, kKthreadd) : attach(*writer, a, kKthreadd, false);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, EINVAL);
  }
  EXPECT_EQ(load(writer->nodes()[a].population), 0u);
  EXPECT_TRUE(attach(*writer, 0, kKthreadd, false).has_value()) << "the root is where it is";
}

TEST_F(Membership, AttachOfAGoneProcessSaysEsrch) {
  create("default:/a");
  pid_t gone = 0;
  {
    Background child([] { return 0; });
    gone = child.pid();
  }
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  auto done = attach(*writer, *tree::find(*writer, "default:/a"), gone, false);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, ESRCH);
}

/* One thread of several is moved to and fro, and every move is seen by the next look. */
TEST_F(Membership, EachMoveIsVisibleAtOnce) {
  create("default:/a");
  create("default:/b");
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(out.data()), 0);
  Background process([&] {
    std::thread other([&] {
      auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
      (void)!::write(out[1], &tid, sizeof(tid));
      ::pause();
    });
    return ::pause();
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(out[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  attach_pid("default:/a", process.pid());
  State now = state();
  const Subsystem* numtasks = find_subsystem("numtasks");
  std::array<Slot, 2> slots = {slot("default:/a"), slot("default:/b")};
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  for (unsigned i = 0; i < 1000; i++) {
    Slot to = slots[(i + 1) % 2];
    ASSERT_TRUE(attach(*writer, to, tid, true).has_value());
    auto tasks = walk_tasks(pins(), tid);
    ASSERT_TRUE(tasks.has_value() && tasks->size() == 1);
    ASSERT_EQ(container_of(tasks->front(), 0), to) << i;
    for (Slot one : slots) {
      auto figures = numtasks->figures(now, one);
      ASSERT_EQ(figures->current, one == slots[0] ? 1 + i % 2 : (i + 1) % 2) << i;
    }
  }
}

/* While a process makes threads as fast as it can it is moved to and fro; in the end all are in one
 * container and the other is empty. */
TEST_F(Membership, AttachAgainstAStormOfThreads) {
  create("default:/a");
  create("default:/b");
  Background process = start_in("default:/a", [] {
    for (;;) {
      std::vector<std::thread> some;
      for (int i = 0; i < 8; i++) some.emplace_back([] {});
      for (std::thread& one : some) one.join();
    }
    return 0;
  });
  for (int i = 0; i < 20; i++) attach_pid(i % 2 == 0 ? "default:/b" : "default:/a", process.pid());
  attach_pid("default:/b", process.pid());
  EXPECT_TRUE(eventually([&] { return number("default:/a", "tasks") == 0; }));
  EXPECT_TRUE(
      eventually([&] { return members("default:/a").empty(); })); /* but for who is exiting */
}

TEST_F(Membership, AContainerWithoutHooksCostsNothing) {
  detach_unused_hooks();
  EXPECT_TRUE(std::filesystem::is_empty(pins().root() + "/links"));
  create("default:/a");
  EXPECT_FALSE(std::filesystem::is_empty(pins().root() + "/links"));
}

/* Orphans are reaped by init and freed on top of whatever runs, and a kernel need not show us each of
 * those: what held the container is found gone all the same. */
TEST_F(Membership, OrphansHoldARemovedContainerNoLongerThanTheyLive) {
  create("default:/a");
  constexpr int kOrphans = 300;
  Background parent = start_in("default:/a", [] {
    for (int i = 0; i < kOrphans; i++) {
      pid_t pid = ::fork();
      if (pid == 0) ::_exit(::fork() < 0 ? 1 : 0); /* both of them */
      if (pid < 0 || ::waitpid(pid, nullptr, 0) != pid) return 1;
    }
    return 0;
  });
  EXPECT_EQ(parent.wait(), 0);
  remove("default:/a");
  EXPECT_TRUE(eventually([&] {
    auto writer = Writer::open(pins());
    if (!writer) return false;
    tree::sweep_lingering(*writer);
    return writer->core().lingering == 0;
  }));
}

}  // namespace
}  // namespace ctnbpf::test
