/* The table of numtasks: what `run`, `tree` and the documents name. Its counting is tested over real
 * forks in tests/kernel. */
#include <gtest/gtest.h>

#include "numtasks/numtasks.h"
#include "numtasks/numtasks_ops.h"

namespace ctnbpf {
namespace {

const Attribute* find(const std::string& name) {
  for (const Attribute& attribute : kNumtasks.attributes)
    if (name == attribute.name) return &attribute;
  return nullptr;
}

TEST(Numtasks, Table) {
  EXPECT_EQ(kNumtasks.id, std::uint32_t{CTN_NUMTASKS});
  EXPECT_STREQ(kNumtasks.name, "numtasks");
  EXPECT_EQ(kNumtasks.minimum, CTN_LEVEL_ACCOUNTING); /* it counts on every kernel */
  EXPECT_TRUE(kNumtasks.needs(CTN_HOOKS_REAP));
}

TEST(Numtasks, WhatPromisesARefusalNeedsAGate) {
  for (const char* name : {"limit", "shares", "total_numtasks", "forkrate", "forkrate_interval"}) {
    ASSERT_NE(find(name), nullptr) << name;
    EXPECT_NE(find(name)->prepare, nullptr) << name;
    bool interval = std::string(name) == "forkrate_interval"; /* it promises nothing by itself */
    EXPECT_EQ(find(name)->needs, interval ? CTN_LEVEL_NONE : CTN_LEVEL_FALLBACK) << name;
  }
  EXPECT_STREQ(find("limit")->run_option, "--numtasks");
  EXPECT_STREQ(find("forkrate")->run_option, "--forkrate");
}

TEST(Numtasks, FiguresCannotBeSet) {
  for (const char* name : {"current", "peak", "failcnt", "events", "guarantee", "ceiling", "unused",
                           "borrowed", "rate_failures", "rate_events", "stats"}) {
    ASSERT_NE(find(name), nullptr) << name;
    EXPECT_EQ(find(name)->prepare, nullptr) << name;
  }
}

}  // namespace
}  // namespace ctnbpf
