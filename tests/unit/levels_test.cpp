/* Names of levels, and the cure that is offered. */
#include "ctnbpf/levels.h"

#include <gtest/gtest.h>

#include "ctnbpf/subsystem.h"

namespace ctnbpf {
namespace {

Levels levels(ctn_level fork) {
  Levels made;
  made.level[CTN_HOOKS_TASK] = fork;
  return made;
}

TEST(Levels, Names) {
  EXPECT_STREQ(level_name(CTN_LEVEL_STRICT), "strict");
  EXPECT_STREQ(level_name(CTN_LEVEL_FALLBACK), "fallback");
  EXPECT_STREQ(level_name(CTN_LEVEL_ACCOUNTING), "accounting");
  EXPECT_STREQ(level_name(CTN_LEVEL_NONE), "none");
  EXPECT_STREQ(level_name(77), "none");
}

TEST(Levels, WorksIsByProgram) {
  Levels made;
  made.hooks = {{"l_task_alloc", "lsm/task_alloc", false, "why"},
                {"t_exit", "tp_btf/sched_process_exit", true, ""}};
  EXPECT_TRUE(made.works("t_exit"));
  EXPECT_FALSE(made.works("l_task_alloc"));
  EXPECT_FALSE(made.works("nosuch"));
}

TEST(Levels, ASubsystemBelowItsMinimumHasNone) {
  Subsystem subsystem = {};
  subsystem.level_from = CTN_HOOKS_REAP;
  subsystem.minimum = CTN_LEVEL_FALLBACK;
  std::uint32_t of[CTN_HOOKS_NR] = {CTN_LEVEL_STRICT};
  for (std::uint32_t level : {CTN_LEVEL_STRICT, CTN_LEVEL_FALLBACK, CTN_LEVEL_ACCOUNTING}) {
    of[CTN_HOOKS_REAP] = level;
    EXPECT_EQ(level_of(subsystem, of),
              level >= CTN_LEVEL_FALLBACK ? level : std::uint32_t{CTN_LEVEL_NONE});
  }
}

TEST(Cure, NoneNeededAtStrict) { EXPECT_EQ(cure_for(levels(CTN_LEVEL_STRICT), {}), ""); }

/* The exact lsm= line: what is active now, in its order, and bpf. */
TEST(Cure, AddsBpfToTheListThisMachineHas) {
  KernelFacts facts;
  facts.lsm_known = true;
  facts.lsm = "lockdown,capability,landlock,yama,apparmor";
  EXPECT_EQ(cure_for(levels(CTN_LEVEL_FALLBACK), facts),
            "boot with `lsm=lockdown,landlock,yama,apparmor,bpf` on the kernel command line");
  facts.lsm = "capability";
  EXPECT_EQ(cure_for(levels(CTN_LEVEL_ACCOUNTING), facts),
            "boot with `lsm=bpf` on the kernel command line");
}

TEST(Cure, AnotherKernelWhereBpfIsListedInVain) {
  KernelFacts facts;
  facts.lsm_known = true;
  facts.lsm = "capability,bpf";
  facts.lsm_has_bpf = true;
  EXPECT_NE(cure_for(levels(CTN_LEVEL_ACCOUNTING), facts).find("CONFIG_BPF_LSM=y"),
            std::string::npos);
}

TEST(Cure, SaysThatTheListCannotBeRead) {
  std::string cure = cure_for(levels(CTN_LEVEL_ACCOUNTING), {});
  EXPECT_NE(cure.find("mount -t securityfs"), std::string::npos);
}

}  // namespace
}  // namespace ctnbpf
