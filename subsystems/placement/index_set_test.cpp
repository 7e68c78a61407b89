/* Lists of CPUs and nodes. */
#include "placement/index_set.h"

#include <gtest/gtest.h>

namespace ctnbpf {
namespace {

std::string normal(const std::string& text) {
  auto set = parse_index_set("x.list", text, 8192);
  return set ? set->to_string() : "error: " + set.error().what;
}

int code(const std::string& text, std::uint32_t limit = 8192) {
  auto set = parse_index_set("x.list", text, limit);
  return set ? 0 : set.error().code;
}

TEST(IndexSet, ListsAreReadAndPrintedInNormalForm) {
  EXPECT_EQ(normal("0"), "0");
  EXPECT_EQ(normal("0-3,6"), "0-3,6");
  EXPECT_EQ(normal("6,0-3"), "0-3,6");
  EXPECT_EQ(normal("3,2,1,0"), "0-3");
  EXPECT_EQ(normal("0-2,1-4,4,4"), "0-4");
  EXPECT_EQ(normal("5-5"), "5");
  EXPECT_EQ(normal("0,1"), "0-1");
  EXPECT_EQ(normal("007"), "7");
  EXPECT_EQ(normal("62-65,130"), "62-65,130");
  EXPECT_EQ(normal("8191"), "8191");
}

TEST(IndexSet, TrailingNewlineAndNothing) {
  EXPECT_EQ(normal("0-1\n"), "0-1");
  EXPECT_EQ(normal(""), "");
  EXPECT_EQ(normal("\n"), "");
  EXPECT_TRUE(parse_index_set("x", "", 1)->empty());
}

/* As the kernel's own lists, and those of taskset and cset. */
TEST(IndexSet, StridesBlanksAllAndParts) {
  EXPECT_EQ(normal("0-31:2/4"), "0-1,4-5,8-9,12-13,16-17,20-21,24-25,28-29");
  EXPECT_EQ(normal("1-6:1/2"), "1,3,5");
  EXPECT_EQ(normal("0-3:4/4"), "0-3");
  EXPECT_EQ(normal("7:1/2"), "7");
  EXPECT_EQ(normal("0-7:1/2,8-9"), "0,2,4,6,8-9");
  EXPECT_EQ(normal("0, 2,  4-5\n"), "0,2,4-5");
  const IndexSet there = *parse_index_set("x", "0-3,8-11,20", 8192);
  auto of_those = [&](const char* text) {
    auto set = parse_index_set("x.list", text, 8192, &there);
    return set ? set->to_string() : "error: " + set.error().what;
  };
  EXPECT_EQ(of_those("all"), "0-3,8-11,20");
  EXPECT_EQ(of_those("all\n"), "0-3,8-11,20");
  EXPECT_EQ(of_those("all:1/2"), "0,2,8,10,20");
  EXPECT_EQ(of_those("100%"), "0-3,8-11,20");
  EXPECT_EQ(of_those("50%"), "0-3,8") << "rounded up";
  EXPECT_EQ(of_those("15%"), "0-1");
  EXPECT_EQ(of_those("1%"), "0") << "at least one";
  EXPECT_EQ(of_those("15%, 20"), "0-1,20");
  for (const char* text : {"0%", "101%", "-5%", "5 %", "50%:1/2", "50%-3", "99999999999999999999%"})
    EXPECT_EQ(parse_index_set("x", text, 8192, &there).error().code, EINVAL) << text;
}

TEST(IndexSet, MalformedIsEinval) {
  for (const char* text :
       {"a",       "0-",       "-1",  "-",     ",",     "0,",     ",0",     "0,,1",
        "0 1",     " 0",       "0 ",  "0-1-2", "0x1",   "1-0",    "0\n\n",  "0;1",
        "0.5",     "+1",       "all", "max",   "0-3:1", "0-3:/2", "0-3:1/", "0-3:2/1",
        "0-3:0/2", "0-3:1/2-", "50%", "0, ",   "0,\t1", "alle",   ":1/2",   "%"}) {
    auto set = parse_index_set("cpuset.cpus", text, 8192);
    ASSERT_FALSE(set.has_value()) << text;
    EXPECT_EQ(set.error().code, EINVAL) << text;
    EXPECT_EQ(set.error().what.rfind("cpuset.cpus cannot be '", 0), 0u) << set.error().what;
    EXPECT_EQ(set.error().what.find('\n'), std::string::npos);
  }
}

TEST(IndexSet, TooLargeIsErange) {
  for (const char* text :
       {"8192", "0-8192", "8192-9000", "0,99999999999999999999", "18446744073709551616"})
    EXPECT_EQ(code(text), ERANGE) << text;
  EXPECT_EQ(code("1", 1), ERANGE);
  EXPECT_EQ(code("99999,x"), EINVAL); /* malformed comes first */
  EXPECT_EQ(code("99999-"), EINVAL);
}

TEST(IndexSet, SetsAgainstSets) {
  auto set = [](const char* text) { return *parse_index_set("x", text, 8192); };
  EXPECT_TRUE(set("1-2").within(set("0-3")));
  EXPECT_FALSE(set("1-4").within(set("0-3")));
  EXPECT_FALSE(set("100").within(set("0-3")));
  EXPECT_TRUE(set("").within(set("")));
  EXPECT_TRUE(set("0-3").meets(set("3-100")));
  EXPECT_FALSE(set("0-3").meets(set("64-67")));
  EXPECT_EQ((set("0-3,70") & set("2-69")).to_string(), "2-3");
  EXPECT_EQ((set("0-3,70") | set("2-69")).to_string(), "0-70");
  EXPECT_EQ(set("0-70").without(set("1-69")).to_string(), "0,70");
  EXPECT_EQ(set("0-3,70") & set("0"), set("0"));
  EXPECT_EQ(set("0-3,70").count(), 5u);
  EXPECT_EQ(set("0-3,70").words().size(), 2u);
  EXPECT_EQ(IndexSet(std::array<std::uint64_t, 3>{5, 0, 0}), set("0,2"));
}

}  // namespace
}  // namespace ctnbpf
