/* The bean counters are generic: the promises of subsystems/beancounter over a second resource, which
 * is widgets.bpf.c and the struct Widgets below, and nothing else. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <memory>

#include "beancounter/beancounter_ops.h"
#include "ctnbpf/containers.h"
#include "kernel_test.h"
#include "kernel/map_size.h"
#include "kernel/run_program.h"

#include "widgets.skel.h"

namespace ctnbpf::test {
namespace {

struct Widgets {
  static constexpr std::uint32_t kId = CTN_MAX_SUBSYS - 1;
  static constexpr const char* kName = "widgets";
  static constexpr const char* kNoun = "widgets";
  static std::uint64_t machine() { return 7; }
};
using Beans = BeanCounter<Widgets>;

/* From here on the calling process has no CAP_SYS_ADMIN; what BPF needs it keeps. */
bool drop_sys_admin() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective &= ~(1U << CAP_SYS_ADMIN);
  return ::syscall(SYS_capset, &header, data) == 0;
}

class BeanCounters : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    skeleton_.reset(widgets_bpf::open());
    ASSERT_NE(skeleton_, nullptr);
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton_->obj) {
      std::string name = bpf_map__name(map);
      bool section = name.starts_with(".data.");
      auto pinned = pins().open_map(section ? name.substr(6) : name);
      if (!pinned) continue;
      if (section)
        ASSERT_TRUE(use_section(map, pinned->get()).has_value());
      else
        bpf_map__reuse_fd(map, pinned->get());
    }
    std::uint32_t containers = state().core().max_containers;
    skeleton_->rodata->container_count = containers;
    skeleton_->rodata->slot_count = containers + CTN_MAX_HIER;
    ASSERT_TRUE(size_map(skeleton_->obj, "widgets", containers + CTN_MAX_HIER).has_value());
    ASSERT_EQ(widgets_bpf::load(skeleton_.get()), 0);
    bpf_map* widgets = skeleton_->maps.data_widgets;
    ASSERT_EQ(bpf_obj_pin(bpf_map__fd(widgets), pins().map("widgets").c_str()), 0);
  }

  void TearDown() override {
    ::unlink(pins().map("widgets").c_str());
    KernelTest::TearDown();
  }

  /* A container with its record of widgets, as a bound subsystem would make it. */
  Slot make(const std::string& address) {
    create(address);
    Slot at = slot(address);
    auto writer = Writer::open(pins());
    EXPECT_TRUE(writer.has_value() && Beans::create(*writer, at).has_value());
    return at;
  }

  /* One attribute set; the error's text, or "". */
  template <typename Prepare>
  std::string set_one(const Prepare& prepare, Slot at, const std::string& text) {
    auto writer = Writer::open(pins());
    EXPECT_TRUE(writer.has_value());
    auto change = prepare(*writer, at, text);
    if (!change) return change.error().what;
    change->make();
    return "";
  }

  static Slot run(const bpf_program* program, Slot at, std::uint64_t mode = 0) {
    UniqueFd fd(::dup(bpf_program__fd(program)));
    const std::uint64_t arguments[] = {at, mode};
    auto result = run_program(fd, arguments, kAnyCpu);
    EXPECT_TRUE(result.has_value()) << result.error().what;
    return result ? *result : 0;
  }
  Slot take(Slot at, std::uint64_t mode = 0) { return run(skeleton_->progs.take, at, mode); }
  void force(Slot at) { run(skeleton_->progs.take_by_force, at); }
  void give_back(Slot at, std::uint64_t mode = 0) { run(skeleton_->progs.give_back, at, mode); }

  beans_state of(Slot at) const {
    State now = state();
    auto all = Beans::states(now);
    EXPECT_TRUE(all.has_value());
    return all ? (*all)[at] : beans_state{};
  }

 private:
  struct Destroy {
    void operator()(widgets_bpf* skeleton) const { widgets_bpf::destroy(skeleton); }
  };
  std::unique_ptr<widgets_bpf, Destroy> skeleton_;
};

TEST_F(BeanCounters, ACeilingBindsBelowAndARefusalLeavesNothing) {
  Slot top = make("default:/a");
  Slot below = make("default:/a/b");
  EXPECT_EQ(set_one(Beans::prepare_ceiling, top, "2"), "");
  EXPECT_EQ(take(below), 0u);
  EXPECT_EQ(take(below), 0u);
  EXPECT_EQ(take(below), top) << "it says who refused";
  EXPECT_EQ(of(below).held, 2u);
  EXPECT_EQ(of(top).held, 2u);
  EXPECT_EQ(of(below).failcnt, 1u);
  EXPECT_EQ(of(below).events, 0u);
  EXPECT_EQ(of(top).failcnt, 0u);
  EXPECT_EQ(of(top).events, 1u);
  auto bounds = Beans::bounds(state(), below);
  ASSERT_TRUE(bounds.has_value());
  ASSERT_EQ(bounds->size(), 2u) << "barrier and limit of the one above";
  EXPECT_EQ(bounds->front().on, top);
  EXPECT_EQ(bounds->front().what, "widgets.barrier");
  EXPECT_EQ(bounds->front().left, 0u);
  give_back(below);
  give_back(below);
  EXPECT_EQ(of(top).held, 0u);
  EXPECT_EQ(Beans::maxheld_of(of(below)), 2u) << "a refused charge is no maximum";
}

TEST_F(BeanCounters, SeverityGoesToTheBarrierTheLimitOrAnywhere) {
  Slot at = make("default:/a");
  EXPECT_EQ(set_one(Beans::prepare_barrier, at, "1"), "");
  EXPECT_EQ(set_one(Beans::prepare_limit, at, "2"), "");
  Background ordinary([&] {
    if (!drop_sys_admin()) return 2;
    return take(at) == 0 && take(at) == at ? 0 : 1;
  });
  EXPECT_EQ(ordinary.wait(), 0);
  EXPECT_EQ(of(at).held, 1u);
  EXPECT_EQ(take(at), 0u) << "privileged: up to the limit";
  EXPECT_EQ(take(at), at);
  force(at);
  EXPECT_EQ(of(at).held, 3u);
  EXPECT_EQ(of(at).failcnt, 2u);
  for (int i = 0; i < 3; i++) give_back(at);
  EXPECT_EQ(of(at).held, 0u);
  EXPECT_EQ(of(at).maxheld, 3u);
}

TEST_F(BeanCounters, EachChargeIsGivenBackInTheModeItWasMade) {
  Slot top = make("default:/a");
  Slot below = make("default:/a/b");
  EXPECT_EQ(take(below, BEANS_FLAT), 0u);
  EXPECT_EQ(take(below), 0u);
  EXPECT_EQ(of(below).held, 2u);
  EXPECT_EQ(of(top).held, 1u);
  give_back(below, BEANS_FLAT);
  give_back(below);
  EXPECT_EQ(of(below).held, 0u);
  EXPECT_EQ(of(top).held, 0u);
}

TEST_F(BeanCounters, BarrierAndLimitKeepTheirOrder) {
  Slot at = make("default:/a");
  EXPECT_EQ(set_one(Beans::prepare_barrier, at, "5\n"), "");
  EXPECT_NE(set_one(Beans::prepare_limit, at, "4").find("widgets.limit cannot be 4"),
            std::string::npos);
  EXPECT_EQ(set_one(Beans::prepare_limit, at, "5"), "");
  EXPECT_NE(set_one(Beans::prepare_barrier, at, "max").find("set the limit first"),
            std::string::npos);
  EXPECT_EQ(set_one(Beans::prepare_ceiling, at, "9"), "");
  EXPECT_EQ(of(at).barrier, 9u);
  EXPECT_EQ(of(at).limit, 9u);
  EXPECT_EQ(set_one(Beans::prepare_ceiling, at, "0"), "");
  EXPECT_EQ(take(at), at) << "nothing is allowed by 0";
}

TEST_F(BeanCounters, DepthIsNoMatter) {
  constexpr int kDepth = 200;
  Slot top = make("default:/a");
  Slot bottom = top;
  {
    auto writer = Writer::open(pins());
    ASSERT_TRUE(writer.has_value());
    for (int depth = 1; depth < kDepth; depth++) {
      auto made = tree::create(*writer, bottom, "d");
      ASSERT_TRUE(made.has_value() && Beans::create(*writer, *made).has_value());
      bottom = *made;
    }
  }
  auto sum = [&] {
    State now = state();
    std::uint64_t held = 0;
    auto all = Beans::states(now);
    if (all)
      for (Slot at : tree::subtree(now, top)) held += (*all)[at].held;
    return held;
  };
  EXPECT_EQ(set_one(Beans::prepare_ceiling, top, "1"), "");
  EXPECT_EQ(take(bottom), 0u);
  EXPECT_EQ(take(bottom), top);
  EXPECT_EQ(sum(), kDepth);
  give_back(bottom);
  EXPECT_EQ(sum(), 0u);
}

/* Three are the most that `below` can have. Whoever is refused above has been charged there already when
 * the other one gives back. */
TEST_F(BeanCounters, AMaximumHasNoChargeThatWasRefused) {
  Slot top = make("default:/a");
  Slot below = make("default:/a/b");
  EXPECT_EQ(set_one(Beans::prepare_ceiling, top, "3"), "");
  EXPECT_EQ(take(below), 0u);
  EXPECT_EQ(take(below), 0u);
  auto take_and_give_back = [&] {
    for (int i = 0; i < 40'000; i++)
      if (take(below) == 0) give_back(below);
    return 0;
  };
  Background one(take_and_give_back);
  Background other(take_and_give_back);
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(other.wait(), 0);
  EXPECT_GT(of(top).events, 0u);
  EXPECT_EQ(of(below).held, 2u);
  EXPECT_EQ(of(below).maxheld, 3u);
  std::printf("%ju refused, at most %ju of 3\n", std::uintmax_t{of(top).events},
              std::uintmax_t{of(below).maxheld});
}

}  // namespace
}  // namespace ctnbpf::test
