/* Every way to make a task: it is born where its forker is, in every hierarchy. */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "kernel_test.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/containers.h"
#include "uring.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

[[noreturn]] void wait_for_the_end() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) ::pause();
}

/* As fork, with more flags. */
pid_t clone_with(unsigned long flags) {
  auto pid = static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
  if (pid == 0) wait_for_the_end();
  return pid;
}

pid_t clone3_with(std::uint64_t flags) {
  clone_args args = {};
  args.flags = flags;
  args.exit_signal = SIGCHLD;
  auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof(args)));
  if (pid == 0) wait_for_the_end();
  return pid;
}

/* In a function of its own: the child may clobber the locals of the caller. */
[[gnu::noinline]] pid_t by_vfork() {
  pid_t pid = ::vfork();
  if (pid == 0) {
    ::execlp("sleep", "sleep", "1000", nullptr);
    ::_exit(127);
  }
  return pid;
}

/* The processes that were made, then this one's threads, those of io_uring among them. */
std::vector<pid_t> make_every_kind() {
  std::vector<pid_t> made = {clone_with(0),
                             clone_with(CLONE_PARENT),
                             clone_with(CLONE_NEWPID),
                             clone_with(CLONE_NEWNS | CLONE_NEWUTS | CLONE_FILES),
                             clone3_with(CLONE_CLEAR_SIGHAND),
                             by_vfork()};
  static std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) threads.emplace_back([] { ::pause(); });
  static std::unique_ptr<Uring> ring = Uring::make();
  if (ring != nullptr) (void)ring->open("/proc/self/stat", Uring::Open::kByWorker);
  for (const auto& one : std::filesystem::directory_iterator("/proc/self/task"))
    made.push_back(std::stoi(one.path().filename()));
  return made;
}

class Birth : public KernelTest {};

TEST_F(Birth, EveryKindOfTaskIsBornWhereItsForkerIs) {
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(tree::create_hierarchy(*writer, "groups", {}).has_value());
  }
  create("default:/a");
  create("default:/a/b");
  create("groups:/g");
  std::array<int, 2> go = {};
  std::array<int, 2> out = {};
  ASSERT_EQ(::pipe(go.data()), 0);
  ASSERT_EQ(::pipe(out.data()), 0);
  Background parent([&] {
    char byte = 0;
    (void)!::read(go[0], &byte, 1);
    std::vector<pid_t> made = make_every_kind();
    made.push_back(0);
    (void)!::write(out[1], made.data(), made.size() * sizeof(pid_t));
    return ::pause();
  });
  attach_pid("default:/a/b", parent.pid());
  attach_pid("groups:/g", parent.pid());
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  std::vector<pid_t> made;
  for (pid_t pid = 0; ::read(out[0], &pid, sizeof(pid)) == sizeof(pid) && pid != 0;)
    made.push_back(pid);
  EXPECT_GE(made.size(), 10u);

  auto tasks = walk_tasks(pins());
  ASSERT_TRUE(tasks.has_value());
  std::set<pid_t> here;
  for (const ctn_walk_task& task : *tasks) {
    Slot in_default = container_of(task, 0);
    Slot in_groups = container_of(task, 1);
    EXPECT_EQ(in_default == slot("default:/a/b"), in_groups == slot("groups:/g")) << task.comm;
    if (in_default == slot("default:/a/b")) here.insert(static_cast<pid_t>(task.tid));
  }
  for (std::size_t i = 0; i < made.size(); i++)
    EXPECT_TRUE(here.contains(made[i])) << "number " << i;
  EXPECT_EQ(number("default:/a/b", "numtasks.current"), here.size());
  EXPECT_EQ(number("groups:/g", "tasks"), here.size());

  for (std::size_t i = 0; i < 6; i++)
    if (made[i] > 0) ::kill(made[i], SIGKILL);
  ::waitpid(made[1], nullptr, 0); /* the one that is our child: CLONE_PARENT */
}

/* No look at all tasks, whenever it is, shows a child that is not where its forker is. */
TEST_F(Birth, NoWindowInWhichAChildIsElsewhere) {
  need_level(
      CTN_LEVEL_FALLBACK); /* below it a child is entered when it is in the list of tasks already */
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a");
  Background forker = start_in("default:/a", [] {
    ::setpgid(0, 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; i++)
      threads.emplace_back([] {
        for (;;) fork_and_reap(1L);
      });
    for (;;) std::thread([] {}).join();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return ::getpgid(forker.pid()) == forker.pid(); }));
  Slot a = slot("default:/a");
  std::size_t looks = 0;
  for (time_t end = ::time(nullptr) + 2; ::time(nullptr) < end || looks < 20; looks++) {
    auto tasks = walk_tasks(pins());
    ASSERT_TRUE(tasks.has_value());
    for (const ctn_walk_task& task : *tasks) {
      bool ours = task.tgid == static_cast<std::uint32_t>(forker.pid()) ||
                  task.global_ppid == static_cast<std::uint32_t>(forker.pid());
      if (ours && !has_exited(task)) {
        ASSERT_EQ(container_of(task, 0), a) << "task " << task.tid << " at look " << looks;
      }
    }
  }
  ::kill(-forker.pid(), SIGKILL);
}

/* As many as were promised, and one more says which setting there is. */
TEST_F(Birth, SixtyFiveThousandContainers) {
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  std::vector<Slot> made;
  Slot parent = 0;
  while (writer->core().containers < CTN_DEFAULT_CONTAINERS) {
    auto one = tree::create(*writer, parent, std::to_string(made.size()));
    ASSERT_TRUE(one.has_value()) << made.size() << ": " << one.error().what;
    if (made.size() % 256 == 255) parent = *one; /* 256 levels of 256 */
    made.push_back(*one);
  }
  auto full = tree::create(*writer, 0, "one more");
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, ENOSPC);
  EXPECT_NE(full.error().what.find("--max-containers"), std::string::npos) << full.error().what;
  for (auto one = made.rbegin(); one != made.rend(); ++one)
    ASSERT_TRUE(tree::remove(*writer, *one, false).has_value());
  EXPECT_EQ(writer->core().containers, 0u);
}

}  // namespace
}  // namespace ctnbpf::test
