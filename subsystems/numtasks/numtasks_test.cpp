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

TEST(Numtasks, OnlyTheLimitCanBeSetAndNeedsAGate) {
  for (const Attribute& attribute : kNumtasks.attributes) {
    bool is_limit = std::string(attribute.name) == "limit";
    EXPECT_EQ(attribute.prepare != nullptr, is_limit) << attribute.name;
    EXPECT_EQ(attribute.needs, is_limit ? CTN_LEVEL_FALLBACK : CTN_LEVEL_NONE) << attribute.name;
  }
  ASSERT_NE(find("limit"), nullptr);
  EXPECT_STREQ(find("limit")->run_option, "--numtasks");
  for (const char* name : {"current", "peak", "failcnt", "events"}) EXPECT_NE(find(name), nullptr) << name;
}

}  // namespace
}  // namespace ctnbpf
