#include "kernel_test.h"

#include <sched.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/fsck.h"
#include "kernel/grace.h"
#include "containers/hooks_in_use.h"

namespace ctnbpf::test {

namespace {

/* Takes down what the last test left, when the binary ends. */
class TakeDownAtEnd : public ::testing::Environment {
 public:
  void TearDown() override { (void)take_down(Pins(kDefaultPinRoot), true); }
};
[[maybe_unused]] const auto* const kAtEnd =
    ::testing::AddGlobalTestEnvironment(new TakeDownAtEnd); /* owned by gtest */

bool is_up_otherwise(const Pins& pins, const LoadSettings& wanted) {
  auto state = State::open(pins);
  if (!state) return false;
  const ctn_core& core = state->core();
  return core.max_containers != wanted.max_containers || core.max_tasks != wanted.max_tasks ||
         core.max_files != wanted.max_files;
}

}  // namespace

void KernelTest::SetUp() {
  if (::geteuid() != 0) CTN_SKIP("needs root");
  static bool first = true;
  bool broken = std::exchange(first, false); /* what an earlier run may have left */
  if (broken || is_up_otherwise(pins_, settings())) (void)take_down(pins_, true);
  auto up = bring_up(pins_, settings());
  if (!up && up.error().code == ENOTSUP) CTN_SKIP(up.error().what);
  ASSERT_TRUE(up.has_value()) << up.error().what;
  up_ = true;
  keep_hooks(true);
  level_ = static_cast<ctn_level>(state().core().level[CTN_HOOKS_TASK]);
}

void KernelTest::TearDown() {
  if (!up_ || !pins_.exist()) return;
  {
    auto writer = Writer::open(pins_);
    ASSERT_TRUE(writer.has_value()) << writer.error().what;
    auto report = fsck(*writer, false);
    ASSERT_TRUE(report.has_value()) << report.error().what;
    for (const std::string& problem : report->problems) ADD_FAILURE() << "fsck: " << problem;
  }
  destroy_all();
  if (HasFailure()) (void)take_down(pins_, true); /* the next test is to start clean */
}

void KernelTest::keep_hooks(bool keep) {
  auto writer = Writer::open(pins_);
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  writer->core().keep_hooks = keep ? 1 : 0;
  auto done = reconcile_hooks(*writer);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

void KernelTest::detach_unused_hooks() { keep_hooks(false); }

void KernelTest::remove(const std::string& address) {
  auto writer = Writer::open(pins_);
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  auto found = tree::find(*writer, address);
  ASSERT_TRUE(found.has_value()) << found.error().what;
  auto done = tree::remove(*writer, *found, true);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

/* Has every CPU free the tasks it is lazy about (CONFIG_RCU_LAZY): a grace period that is waited for
 * takes along what is queued on the CPU that asks. Then what went unseen. */
void KernelTest::free_dead_tasks() {
  cpu_set_t all;
  ::sched_getaffinity(0, sizeof(all), &all);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof(one), &one);
    wait_for_programs();
  }
  ::sched_setaffinity(0, sizeof(all), &all);
  auto writer = Writer::open(pins_);
  if (!writer) return;
  auto gone = forget_gone(*writer);
  EXPECT_TRUE(gone.has_value()) << gone.error().what;
}

/* Dying tasks hold a removed container for some grace periods: EBUSY is final only after a while. */
void KernelTest::destroy_all() {
  std::string last;
  bool gone = eventually(
      [&] {
        free_dead_tasks();
        auto writer = Writer::open(pins_);
        if (!writer) return false;
        bool all = true;
        for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
          if (!tree::hierarchy_active(*writer, h)) continue;
          (void)tree::remove_subtree(*writer, h, false);
          if (auto ok = tree::destroy_hierarchy(*writer, h); !ok) {
            last = ok.error().what;
            all = false;
          }
        }
        return all;
      },
      std::chrono::seconds(60));
  EXPECT_TRUE(gone) << "left behind: " << last;
}

void KernelTest::need_level(ctn_level level) {
  if (level_ < level)
    CTN_SKIP(std::string("needs level ") + level_name(level) + ", this kernel has " +
             level_name(level_));
}

State KernelTest::state() const {
  auto state = State::open(pins_);
  EXPECT_TRUE(state.has_value()) << state.error().what;
  return std::move(*state);
}

Slot KernelTest::slot(const std::string& address) const {
  auto slot = tree::find(state(), address);
  EXPECT_TRUE(slot.has_value()) << slot.error().what;
  return slot ? *slot : 0;
}

std::uint64_t KernelTest::number(const std::string& address, const std::string& attribute) const {
  State now = state();
  auto slot = tree::find(now, address);
  if (!slot) {
    ADD_FAILURE() << slot.error().what;
    return 0;
  }
  auto found = find_attribute(now, *slot, attribute);
  if (!found) {
    ADD_FAILURE() << found.error().what;
    return 0;
  }
  auto value = found->attribute->read(now, *slot);
  return value ? std::get<std::uint64_t>(*value) : 0;
}

void KernelTest::create(const std::string& address, const std::vector<std::string>& settings) {
  auto parsed = parse_address(address);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().what;
  auto writer = Writer::open(pins_);
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  Address parent = *parsed;
  std::string name = parent.path.back();
  parent.path.pop_back();
  auto above = tree::find(*writer, parent);
  ASSERT_TRUE(above.has_value()) << above.error().what;
  auto made = tree::create(*writer, *above, name);
  ASSERT_TRUE(made.has_value()) << made.error().what;
  auto done = set_attributes(*writer, *made, settings, false);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

void KernelTest::set(const std::string& address, const std::vector<std::string>& settings) {
  auto writer = Writer::open(pins_);
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  auto slot = tree::find(*writer, address);
  ASSERT_TRUE(slot.has_value()) << slot.error().what;
  auto done = set_attributes(*writer, *slot, settings, false);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

void KernelTest::attach_pid(const std::string& address, pid_t pid) {
  auto writer = Writer::open(pins_);
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  auto slot = tree::find(*writer, address);
  ASSERT_TRUE(slot.has_value()) << slot.error().what;
  auto done = attach(*writer, *slot, pid, false);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

bool KernelTest::exists(const std::string& address) const {
  return tree::find(state(), address).has_value();
}

Background KernelTest::start_in(const std::string& address, const std::function<int()>& body) {
  std::array<int, 2> gate = {};
  EXPECT_EQ(::pipe(gate.data()), 0);
  Background child([&] {
    char go = 0;
    ::close(gate[1]);
    if (::read(gate[0], &go, 1) != 1) return 125;
    ::close(gate[0]);
    return body();
  });
  ::close(gate[0]);
  attach_pid(address, child.pid());
  EXPECT_EQ(::write(gate[1], "g", 1), 1);
  ::close(gate[1]);
  return child;
}

}  // namespace ctnbpf::test
