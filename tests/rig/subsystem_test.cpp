/* The interface of subsystems: what each is asked and told, and that a refusal at any step leaves
 * nothing. The table has the most subsystems there can be; rig (rig.cpp) refuses on demand. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "kernel_test.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "rig/rig_ops.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

using Calls = std::vector<std::string>;

class Interface : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    rig::refuse = {};
    rig::calls.clear();
  }
  void TearDown() override {
    rig::refuse = {};
    KernelTest::TearDown();
  }

  Writer writer() {
    auto opened = Writer::open(pins());
    EXPECT_TRUE(opened.has_value()) << opened.error().what;
    return std::move(*opened);
  }
  /* What was called, but for the plain ones with other numbers than these. */
  static Calls called(const std::vector<int>& plain) {
    Calls out;
    for (const std::string& one : rig::calls) {
      bool wanted = !one.starts_with("plain");
      for (int number : plain)
        wanted = wanted || one.starts_with("plain" + std::to_string(number) + " ");
      if (wanted) out.push_back(one);
    }
    return out;
  }
  void make_hierarchy(const std::string& name, const std::vector<std::string>& subsystems) {
    Writer w = writer();
    auto made = tree::create_hierarchy(w, name, subsystems);
    ASSERT_TRUE(made.has_value()) << made.error().what;
  }
  /* The default layout holds every subsystem; this one is free of it. */
  void destroy_default() {
    Writer w = writer();
    auto gone = tree::destroy_hierarchy(w, tree::hierarchy_named(w, "default"));
    ASSERT_TRUE(gone.has_value()) << gone.error().what;
    rig::calls.clear();
  }
  Result<void> try_create(const std::string& parent, const std::string& name) {
    Writer w = writer();
    auto made = tree::create(w, *tree::find(w, parent), name);
    return made ? Result<void>() : made.error();
  }
  Result<void> try_attach(const std::string& address, pid_t pid, bool one_thread = false) {
    Writer w = writer();
    auto done = attach(w, *tree::find(w, address), pid, one_thread);
    return done ? Result<void>() : done.error();
  }
  Result<void> try_remove(const std::string& address, bool lazy) {
    Writer w = writer();
    return tree::remove(w, *tree::find(w, address), lazy);
  }
  Slot container(pid_t pid, const std::string& hierarchy) {
    auto tasks = walk_tasks(pins(), pid);
    if (!tasks || tasks->empty()) return ~0U;
    return container_of(tasks->front(), *tree::find_hierarchy(state(), hierarchy));
  }
};

TEST_F(Interface, SixteenSubsystemsInEightHierarchies) {
  ASSERT_EQ(subsystems().size(), std::size_t{CTN_MAX_SUBSYS});
  destroy_default();
  std::vector<std::string> names;
  for (const Subsystem* one : subsystems())
    if (level_of(*one, state().core().level) != CTN_LEVEL_NONE) names.emplace_back(one->name);
  /* Two each, the last one has what is left. */
  for (std::size_t h = 0; h < CTN_MAX_HIER; h++) {
    std::vector<std::string> two;
    for (std::size_t i = h; i < names.size(); i += CTN_MAX_HIER) two.push_back(names[i]);
    make_hierarchy("h" + std::to_string(h), two);
    create("h" + std::to_string(h) + ":/c");
  }
  for (std::size_t i = 0; i < names.size(); i++) EXPECT_TRUE(exists(names[i] + ":/c")) << names[i];
  /* One task in a container of each, and its child too. */
  std::array<int, 2> told = {};
  ASSERT_EQ(::pipe(told.data()), 0);
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe(go.data()), 0);
  Background task([&] {
    char byte = 0;
    (void)!::read(go[0], &byte, 1);
    Sleepers one(1);
    pid_t child = one.pids()[0];
    (void)!::write(told[1], &child, sizeof(child));
    return ::pause();
  });
  for (int h = 0; h < CTN_MAX_HIER; h++) attach_pid("h" + std::to_string(h) + ":/c", task.pid());
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  pid_t child = 0;
  ASSERT_EQ(::read(told[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  for (int h = 0; h < CTN_MAX_HIER; h++) {
    std::string name = "h" + std::to_string(h);
    EXPECT_EQ(container(task.pid(), name), slot(name + ":/c")) << name;
    EXPECT_EQ(container(child, name), slot(name + ":/c")) << name;
  }
  EXPECT_EQ(number("rig:/c", "rig.came"), 1u);
  EXPECT_EQ(number("rig:/c", "rig.forks"), 1u);
}

TEST_F(Interface, BindingIsDoneByAllOrNone) {
  destroy_default();
  rig::refuse.bind = true;
  {
    Writer w = writer();
    auto refused = tree::create_hierarchy(w, "h", {"plain14", "rig", "plain10"});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, EPERM);
    EXPECT_NE(refused.error().what.find("subsystem rig: binding is refused"), std::string::npos)
        << refused.error().what;
    EXPECT_EQ(tree::hierarchy_named(w, "h"), std::uint32_t{CTN_MAX_HIER});
    for (std::uint8_t bound : w.core().bound) EXPECT_EQ(bound, 0);
  }
  EXPECT_EQ(rig::calls, (Calls{"plain14 bind", "bind", "plain14 unbind"}));
  rig::refuse.bind = false;
  rig::calls.clear();
  make_hierarchy("h", {"plain14", "rig", "plain10", "rig"}); /* twice is once */
  {
    Writer w = writer();
    ASSERT_TRUE(tree::destroy_hierarchy(w, tree::hierarchy_named(w, "h")).has_value());
  }
  EXPECT_EQ(rig::calls, (Calls{"plain14 bind", "bind", "plain10 bind", "plain10 unbind", "unbind",
                               "plain14 unbind"}));
  make_hierarchy("other", {"rig"}); /* free to be bound elsewhere */
}

TEST_F(Interface, CreationIsDoneByAllOrNone) {
  detach_unused_hooks();
  rig::refuse.create = true;
  auto refused = try_create("default:/", "a");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EPERM);
  EXPECT_NE(refused.error().what.find("subsystem rig: creation is refused"), std::string::npos);
  EXPECT_FALSE(exists("default:/a"));
  EXPECT_EQ(called({14, 10}), (Calls{"plain14 create default:/a", "create default:/a",
                                     "plain14 destroy default:/a"}));
  EXPECT_TRUE(std::filesystem::is_empty(pins().root() + "/links"));
  rig::refuse.create = false;
  rig::calls.clear();
  create("default:/a");
  ASSERT_TRUE(try_remove("default:/a", false).has_value());
  EXPECT_EQ(called({14, 10}),
            (Calls{"plain14 create default:/a", "create default:/a", "plain10 create default:/a",
                   "removed default:/a", "plain14 destroy default:/a", "destroy default:/a",
                   "plain10 destroy default:/a"}));
}

TEST_F(Interface, TheFirstRefusalOfCanAttachChangesNothing) {
  create("default:/a");
  create("default:/b");
  Background task = start_in("default:/a", [] { return ::pause(); });
  rig::calls.clear();
  rig::refuse.can_attach = true;
  auto refused = try_attach("default:/b", task.pid());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EPERM);
  EXPECT_EQ(rig::calls, Calls{"can_attach default:/b"}); /* no attach of anybody */
  EXPECT_EQ(container(task.pid(), "default"), slot("default:/a"));
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  EXPECT_EQ(number("default:/b", "rig.came"), 0u);
}

/* After the move each subsystem is told; one that fails has the tasks go back. */
TEST_F(Interface, AFailedAttachIsTakenBack) {
  create("default:/a");
  create("default:/b");
  std::array<int, 2> ready = {};
  ASSERT_EQ(::pipe(ready.data()), 0);
  Background task([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 7; i++)
      threads.emplace_back([&] {
        (void)!::write(ready[1], "r", 1);
        ::pause();
      });
    return ::pause();
  });
  char byte = 0;
  for (int i = 0; i < 7; i++) ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  attach_pid("default:/a", task.pid());
  EXPECT_EQ(rig::attached.size(), 8u); /* every thread */
  rig::calls.clear();
  rig::refuse.attach = true;
  auto refused = try_attach("default:/b", task.pid());
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().what.find("subsystem rig: attaching is refused"), std::string::npos);
  EXPECT_EQ(called({14, 10}),
            (Calls{"can_attach default:/b", "plain14 attach default:/b", "attach default:/b",
                   "plain14 attach default:/a", "attach default:/a"}));
  EXPECT_EQ(number("default:/a", "tasks"), 8u);
  EXPECT_EQ(number("default:/b", "tasks"), 0u);
  EXPECT_EQ(number("default:/a", "numtasks.current"), 8u);
  EXPECT_EQ(number("default:/b", "numtasks.current"), 0u);
  EXPECT_EQ(number("default:/b", "rig.came"), 8u);
  EXPECT_EQ(number("default:/b", "rig.went"), 8u);
}

TEST_F(Interface, AttachToWhereItIsIsAFullAttach) {
  create("default:/a");
  Background task = start_in("default:/a", [] { return ::pause(); });
  rig::calls.clear();
  attach_pid("default:/a", task.pid());
  EXPECT_EQ(called({14}),
            (Calls{"can_attach default:/a", "plain14 attach default:/a", "attach default:/a"}));
  EXPECT_EQ(rig::attached, std::vector<pid_t>{task.pid()});
  EXPECT_EQ(number("default:/a", "rig.came"), 1u); /* it did not move again */
}

/* The rig refuses after numtasks has charged: the charge is taken back, and the errno is the fork's. */
TEST_F(Interface, ARefusedForkIsUndoneByAll) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/a", {"rig.refuse_forks=1"});
  Background forker = start_in("default:/a", [] {
    Sleepers none(1);
    return none.count() == 0 && none.failed() == EPERM ? 0 : 1;
  });
  EXPECT_EQ(forker.wait(), 0);
  EXPECT_EQ(number("default:/a", "rig.refused"), 1u);
  EXPECT_EQ(number("default:/a", "rig.forks"), 0u);
  EXPECT_TRUE(eventually([&] { return number("default:/a", "numtasks.current") == 0; }));
  EXPECT_EQ(number("default:/a", "tasks"), 0u);
}

TEST_F(Interface, ForksAndExitsAreToldOnce) {
  create("default:/a");
  start_in("default:/a", [] { return static_cast<int>(fork_and_reap(100L)); }).wait();
  EXPECT_EQ(number("default:/a", "rig.forks"), 100u);
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return number("default:/a", "rig.released") == 100;
  }));
  EXPECT_EQ(number("default:/a", "rig.exits"), 101u);
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  /* A fork that another one refuses is not charged to the rig. */
  create("default:/full", {"numtasks.limit=1"});
  start_in("default:/full", [] { return Sleepers(1).count(); }).wait();
  EXPECT_EQ(number("default:/full", "rig.forks"), 0u);
  EXPECT_EQ(number("default:/full", "numtasks.events"), 1u);
}

TEST_F(Interface, AttributesComeFromTheTable) {
  create("default:/a");
  State now = state();
  Slot a = slot("default:/a");
  auto mark = find_attribute(now, a, "rig.mark");
  ASSERT_TRUE(mark.has_value());
  EXPECT_EQ(to_string(*mark->attribute->read(now, a)), "/a");
  rig::refuse.read = true;
  auto refused = mark->attribute->read(now, a);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EPERM);
  /* One wrong setting of several, and none is made. */
  Writer w = writer();
  EXPECT_FALSE(
      set_attributes(w, a, {"rig.hold=1", "notify_on_release=1", "rig.refuse_forks=2"}, false)
          .has_value());
  EXPECT_FALSE(set_attributes(w, a, {"rig.hold=1", "rig.forks=1"}, false).has_value());
  EXPECT_EQ(number("default:/a", "rig.hold"), 0u);
  EXPECT_EQ(number("default:/a", "notify_on_release"), 0u);
}

/* Zombies hold no container; the references of a subsystem do, as long as it likes. */
TEST_F(Interface, AReferenceKeepsAContainer) {
  create("default:/p");
  create("default:/p/a", {"rig.hold=1", "notify_on_release=1"});
  std::array<int, 2> told = {};
  ASSERT_EQ(::pipe(told.data()), 0);
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe(go.data()), 0);
  Background parent = start_in("default:/p/a", [&] {
    std::array<pid_t, 2> children = {};
    for (pid_t& child : children)
      if (child = ::fork(); child == 0) ::_exit(0);
    siginfo_t info;
    for (pid_t child : children)
      ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    (void)!::write(told[1], "z", 1);
    char byte = 0;
    (void)!::read(go[0], &byte, 1); /* now they are to be reaped */
    for (pid_t child : children) ::waitpid(child, nullptr, 0);
    (void)!::write(told[1], "r", 1);
    return ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  attach_pid("default:/p", parent.pid());
  EXPECT_EQ(number("default:/p/a", "tasks"), 0u); /* two zombies */

  auto busy = try_remove("default:/p/a", false);
  ASSERT_FALSE(busy.has_value());
  EXPECT_EQ(busy.error().code, EBUSY);
  EXPECT_NE(busy.error().what.find("has 2 references held by "), std::string::npos)
      << busy.error().what;
  EXPECT_NE(busy.error().what.find("children of the rig"), std::string::npos) << busy.error().what;
  EXPECT_EQ(load(state().nodes()[slot("default:/p/a")].releases),
            0u); /* its last reference is not gone */

  Slot old = slot("default:/p/a");
  rig::calls.clear();
  ASSERT_TRUE(try_remove("default:/p/a", true).has_value());
  EXPECT_FALSE(exists("default:/p/a"));
  EXPECT_EQ(called({}), Calls{"removed default:/p/a"}); /* not destroyed: it lingers */
  create("default:/p/a");                               /* the name is free */
  EXPECT_NE(slot("default:/p/a"), old);
  EXPECT_EQ(load(state().core().lingering), 1u);
  EXPECT_EQ(load(state().nodes()[old].refs), 2u);
  {
    Writer w = writer();
    EXPECT_EQ(tree::sweep_lingering(w), 0u);
    auto held = tree::destroy_hierarchy(w, 0);
    EXPECT_FALSE(held.has_value());
  }
  rig::calls.clear();
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    Writer w = writer();
    tree::sweep_lingering(w);
    return w.core().lingering == 0;
  }));
  EXPECT_EQ(called({}), Calls{"destroy default:/p/a"});
}

/* The last reference to go is what makes an empty container news. */
TEST_F(Interface, TheLastReferenceReleases) {
  create("default:/a", {"rig.hold=1", "notify_on_release=1"});
  create("default:/b");
  std::array<int, 2> told = {};
  ASSERT_EQ(::pipe(told.data()), 0);
  std::array<int, 2> go = {};
  ASSERT_EQ(::pipe(go.data()), 0);
  Background parent = start_in("default:/a", [&] {
    pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    (void)!::write(told[1], "z", 1);
    char byte = 0;
    (void)!::read(go[0], &byte, 1);
    ::waitpid(child, nullptr, 0);
    return ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  attach_pid("default:/b", parent.pid());
  Slot a = slot("default:/a");
  EXPECT_EQ(load(state().nodes()[a].releases), 0u);
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  EXPECT_TRUE(eventually([&] {
    free_dead_tasks();
    return load(state().nodes()[a].releases) == 1;
  }));
}

/* What is bound to a hierarchy that nobody uses attaches nothing. */
TEST_F(Interface, UnusedSubsystemsAttachNothing) {
  detach_unused_hooks();
  auto linked = [&](const char* program) { return std::filesystem::exists(pins().link(program)); };
  destroy_default();
  make_hierarchy("tasks", {"numtasks"});
  make_hierarchy("rest", {"cpuacct", "rig"});
  EXPECT_TRUE(std::filesystem::is_empty(pins().root() + "/links"));
  create("tasks:/a");
  EXPECT_TRUE(linked("t_exit") || linked("p_exit"));
  EXPECT_FALSE(linked("t_switch"));
  create("rest:/a");
  EXPECT_TRUE(linked("t_switch"));
  ASSERT_TRUE(try_remove("rest:/a", false).has_value());
  {
    Writer w = writer();
    ASSERT_TRUE(tree::destroy_hierarchy(w, tree::hierarchy_named(w, "rest")).has_value());
  }
  EXPECT_FALSE(linked("t_switch"));
  EXPECT_TRUE(linked("t_exit") || linked("p_exit"));
}

}  // namespace
}  // namespace ctnbpf::test
