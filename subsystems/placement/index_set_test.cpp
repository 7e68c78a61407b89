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

TEST(IndexSet, MalformedIsEinval) {
  for (const char* text :
       {"a",     "0-",  "-1",  "-",     ",",   "0,",  ",0", "0,,1", "0 1", " 0",     "0 ",
        "0-1-2", "0x1", "1-0", "0\n\n", "0;1", "0.5", "+1", "all",  "max", "0-3:1/2"}) {
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
