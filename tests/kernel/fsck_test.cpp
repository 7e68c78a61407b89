/* fsck: each kind of derived and counted state, damaged on purpose, is found and mended. */
#include "ctnbpf/fsck.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "kernel_test.h"
#include "kernel/mapping.h"
#include "numfiles/numfiles.h"
#include "numtasks/numtasks.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Fsck : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    create("default:/a");
    create("default:/a/b");
    create("default:/a/c");
    create("default:/gone");
    a_ = slot("default:/a");
    b_ = slot("default:/a/b");
    gone_ = slot("default:/gone");
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(tree::remove(*writer, gone_, false).has_value());
  }

  FsckReport check(bool repair) {
    auto writer = Writer::open(pins());
    EXPECT_TRUE(writer.has_value());
    auto report = fsck(*writer, repair);
    EXPECT_TRUE(report.has_value()) << report.error().what;
    return *report;
  }

  /* After `damage` each of `says` is among the problems; they are mended, and all is well then. */
  void expect_mended(const std::function<void(Writer&)>& damage,
                     const std::vector<std::string>& says) {
    EXPECT_TRUE(check(false).problems.empty());
    {
      auto writer = Writer::open(pins());
      ASSERT_TRUE(writer.has_value());
      damage(*writer);
    }
    FsckReport report = check(true);
    std::string all;
    for (const std::string& one : report.problems) all += one + "\n";
    for (const std::string& one : says)
      EXPECT_NE(all.find(one), std::string::npos) << one << "\nnot in:\n" << all;
    EXPECT_FALSE(report.repaired.empty());
    for (const std::string& one : report.left) ADD_FAILURE() << "not mended: " << one;
    for (const std::string& one : check(false).problems) ADD_FAILURE() << "left: " << one;
  }

  static int fork_for_ever() {
    for (;;) {
      if (pid_t pid = ::fork(); pid == 0) ::_exit(0);
      while (::wait(nullptr) > 0) {
      }
    }
    return 0;
  }

  template <typename Record>
  static std::span<Record> records(Writer& writer, const std::string& map) {
    auto found = writer.records<Record>(map);
    EXPECT_TRUE(found.has_value());
    return *found;
  }

  static constexpr std::uint64_t kOneTask = CTN_ONE_RECORD + CTN_ONE_LIVE;
  Slot a_ = 0;
  Slot b_ = 0;
  Slot gone_ = 0;
};

TEST_F(Fsck, FindsAndMendsCountsAndListsOfTheTree) {
  expect_mended(
      [&](Writer& writer) {
        writer.nodes()[a_].children++;
        writer.nodes()[a_].dependants--;
        writer.core().containers++;
        writer.core().lingering++;
        writer.core().free_list = writer.core().quarantine = 0;
        writer.core().tree_watch = 1;
        writer.core().rename_seq++;
        writer.core().bound[CTN_MAX_SUBSYS - 1] = CTN_MAX_HIER;
        writer.nodes()[CTN_MAX_HIER - 1].state = CTN_ACTIVE;
        writer.nodes()[a_].flags |= CTN_KILLING;
      },
      {"counts 3 children, has 2", "counts 1 dependants, has 2",
       "the core counts 4 containers, there are 3",
       "the core counts 1 lingering containers, there are 0",
       "is free and in no list of free slots", "every fork is told of",
       "a change of a name was not finished", "which is not there", "is not there and still in use",
       "is marked as being killed"});
  EXPECT_EQ(state().nodes()[a_].flags & CTN_KILLING, 0u);
}

TEST_F(Fsck, FindsAndMendsLinksAndNames) {
  expect_mended(
      [&](Writer& writer) {
        writer.nodes()[writer.nodes()[a_].first_child].prev_sibling = gone_;
        for (std::uint64_t& head : writer.name_index()) head = 0;
        writer.core().free_list = b_; /* a slot that is in use */
        writer.nodes()[b_].depth = 9;
      },
      {"does not know its neighbour", "is not found by its name",
       "the index of names has 0 entries for 3 containers", "is wrongly in a list of free slots",
       "its depth is wrong"});
  EXPECT_TRUE(exists("default:/a/b"));
  expect_mended([&](Writer& writer) { writer.nodes()[a_].first_child = 0; },
                {"its list of children does not hold all of them"});
}

TEST_F(Fsck, FindsAndMendsCountersOfTasksAndReferences) {
  Background task = start_in("default:/a", [] { return ::pause(); });
  expect_mended(
      [&](Writer& writer) {
        __atomic_fetch_add(&writer.nodes()[a_].population, 2 * CTN_ONE_RECORD + CTN_ONE_LIVE,
                           __ATOMIC_ACQ_REL);
        writer.nodes()[a_].refs += 3;
        writer.nodes()[a_].armed = 0;
        records<numtasks_state>(writer, "numtasks")[b_].current += 5;
        auto keys = Mapping::open(writer.pins(), "task_keys", sizeof(ctn_key), ~0U, true);
        ASSERT_TRUE(keys.has_value());
        keys->as<ctn_key>()[3].home++;
        keys->as<ctn_key>()[4].displaced++;
      },
      {"default:/a: counts 2 live tasks and 3 records, the table of tasks has 1 and 1",
       "default:/a: counts 3 references, its subsystems hold 0",
       "would not tell when it becomes empty",
       "default:/a/b: numtasks.current is 5, the table of tasks makes it 0",
       "the table of tasks: 2 counts of its places are wrong"});
  EXPECT_EQ(number("default:/a", "tasks"), 1u);
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  task.signal(SIGKILL);
  task.wait();
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return number("default:/a", "numtasks.current") == 0 && number("default:/a", "tasks") == 0;
  }));
}

TEST_F(Fsck, FindsAndMendsWhatNumtasksDerives) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  set("default:/a", {"numtasks.limit=7", "numtasks.forkrate=1000"});
  expect_mended(
      [&](Writer& writer) {
        records<numtasks_state>(writer, "numtasks")[a_].bound = CTN_UNLIMITED;
      },
      {"default:/a: 18446744073709551615 tasks are let in, the limit and the ceiling make it 7"});
  Background forker = start_in("default:/a/b", [] {
    Sleepers six(6);
    return six.count() == 6 && ::fork() < 0 && errno == EAGAIN ? 0 : 1;
  });
  EXPECT_EQ(forker.wait(), 0) << "the limit is in force again";

  Background task = start_in("default:/a/c", [] { return ::pause(); });
  set("default:/a", {"numtasks.shares=min_shares=20,max_shares=80"});
  set("default:/a/c", {"numtasks.shares=min_shares=50"});
  Slot c = slot("default:/a/c");
  expect_mended(
      [&](Writer& writer) {
        records<numtasks_state>(writer, "numtasks")[c].share += CTN_ONE_SHARE;
      },
      {"default:/a/c: its shares count 2 tasks of "});
  expect_mended(
      [&](Writer& writer) { records<numtasks_state>(writer, "numtasks")[0].changing = 1; },
      {"a change of shares was cut short"});
}

TEST_F(Fsck, FindsAndMendsCountersOfFiles) {
  if (!find_attribute(state(), a_, "numfiles.held")) CTN_SKIP("numfiles is not available here");
  std::array<int, 2> opened = {};
  ASSERT_EQ(::pipe(opened.data()), 0);
  Background task = start_in("default:/a/b", [&] {
    (void)!::open("/proc", O_RDONLY);
    (void)!::write(opened[1], "x", 1);
    return ::pause();
  });
  char c = 0;
  ASSERT_EQ(::read(opened[0], &c, 1), 1);
  expect_mended(
      [&](Writer& writer) {
        auto all = records<beans_state>(writer, "numfiles");
        all[a_].held += 4;
        all[b_].limit = 3;
        __atomic_fetch_sub(&writer.nodes()[b_].refs, 1, __ATOMIC_ACQ_REL);
      },
      {"default:/a: numfiles.held is 5, the table of files has 1",
       "numfiles.barrier is above numfiles.limit",
       "default:/a/b: counts 0 references, its subsystems hold 1"});
  EXPECT_EQ(number("default:/a", "numfiles.held"), 1u);
  ::close(opened[0]);
  ::close(opened[1]);
}

TEST_F(Fsck, FindsAndMendsHooksAndPins) {
  std::string left = pins().root() + "/being-removed";
  bool kprobe = std::filesystem::exists(pins().link("k_newtask"));
  std::string program = kprobe ? "k_newtask" : "t_newtask";
  ASSERT_EQ(::unlink(pins().link(program).c_str()), 0);
  ASSERT_EQ(::mkdir(left.c_str(), 0700), 0);
  FsckReport report = check(true);
  ASSERT_EQ(report.problems.size(), 2u);
  EXPECT_EQ(report.problems[0], "program " + program + " is needed and not attached");
  EXPECT_EQ(report.problems[1], left + " was left behind by an `up` or `down` that was killed");
  EXPECT_TRUE(report.left.empty());
  EXPECT_TRUE(std::filesystem::exists(pins().link(program)));
  EXPECT_FALSE(std::filesystem::exists(left));
}

/* It does not take for wrong what is only on its way. */
TEST_F(Fsck, IsCleanUnderForksAndExits) {
  Background storm = start_in("default:/a/b", fork_for_ever);
  for (int i = 0; i < 3; i++)
    for (const std::string& one : check(i == 2).problems) ADD_FAILURE() << one;
}

/* A task that counts, and that no walk shows yet, nearly all the time: the kernel copies each of the
 * forker's many mappings. */
TEST_F(Fsck, IsCleanUnderLongForks) {
  constexpr std::size_t kMappings = 20'000;
  std::array<int, 2> ready = {};
  ASSERT_EQ(::pipe(ready.data()), 0);
  Background storm = start_in("default:/a/b", [&] {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    auto* all = static_cast<char*>(
        ::mmap(nullptr, kMappings * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < kMappings; i += 2) ::mprotect(all + i * page, page, PROT_NONE);
    (void)!::write(ready[1], "r", 1);
    return fork_for_ever();
  });
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  for (int i = 0; i < 3; i++)
    for (const std::string& one : check(i == 2).problems) ADD_FAILURE() << one;
  ::close(ready[0]);
  ::close(ready[1]);
}

/* But a record that stays without a task is found: here one that was entered for no task at all. */
TEST_F(Fsck, FindsRecordsWithoutATask) {
  auto keys = Mapping::open(pins(), "task_keys", sizeof(ctn_key), ~0U, true);
  auto tasks = Mapping::open(pins(), "task_records", sizeof(ctn_task), ~0U, true);
  ASSERT_TRUE(keys.has_value() && tasks.has_value());
  auto home_of = [&](std::uint64_t task) {
    return ctn_key_home(ctn_key_hash(static_cast<__u32>(task)), keys->size());
  };
  std::uint64_t no_task = 0xffff'ffff'ffff'ffc0;
  while (keys->as<ctn_key>()[home_of(no_task)].object != 0) no_task -= 64;
  ctn_key& key = keys->as<ctn_key>()[home_of(no_task)];
  ctn_task& record = tasks->as<ctn_task>()[home_of(no_task)];
  auto enter = [&](bool in) {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    writer->nodes()[b_].armed = in ? 1 : 0;
    record.slot[0] = in ? b_ : 0;
    key.object = in ? no_task : 0;
    key.home += in ? 1U : ~0U;
    writer->nodes()[b_].population += in ? kOneTask : ~kOneTask + 1;
  };
  enter(true);
  FsckReport report = check(false);
  enter(false);
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0],
            "default:/a/b: has a record of a task that no walk over all tasks meets");
}

}  // namespace
}  // namespace ctnbpf::test
