/* Values of attributes, the table of subsystems. */
#include <gtest/gtest.h>

#include <set>

#include "ctnbpf/address.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf {
namespace {

TEST(ParseLimit, NumbersAndMax) {
  EXPECT_EQ(*parse_limit("x", "0", 10), 0u);
  EXPECT_EQ(*parse_limit("x", "10", 10), 10u);
  EXPECT_EQ(*parse_limit("x", "010", 10), 10u);
  EXPECT_EQ(*parse_limit("x", "max", 10), std::uint64_t{CTN_UNLIMITED});
  EXPECT_EQ(*parse_limit("x", "7\n", 10), 7u);
  EXPECT_EQ(*parse_limit("x", "max\n", 10), std::uint64_t{CTN_UNLIMITED});
}

TEST(ParseLimit, NotANumber) {
  for (const char* text :
       {"", "\n", "-1", "+1", " 1", "1 ", "1\n\n", "0x1", "1e3", "1.0", "1k", "Max", "maxi"}) {
    auto parsed = parse_limit("sub.attr", text, 10);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, EINVAL) << text;
    EXPECT_NE(parsed.error().what.find("sub.attr cannot be '"), std::string::npos);
    EXPECT_NE(parsed.error().what.find("'max' or a number from 0 to 10"), std::string::npos);
    EXPECT_EQ(parsed.error().what.find('\n'), std::string::npos); /* one line, whatever was typed */
  }
}

TEST(ParseLimit, TooLarge) {
  for (const char* text :
       {"11", "18446744073709551615", "18446744073709551616", "99999999999999999999999999"})
    EXPECT_EQ(parse_limit("x", text, 10).error().code, ERANGE) << text;
  EXPECT_LT(parse_limit("x", std::string(1'000'000, '9'), 10).error().what.size(), 300u);
}

TEST(Values, Text) {
  EXPECT_EQ(to_string(Value{std::uint64_t{42}}), "42");
  EXPECT_EQ(to_string(Value{std::uint64_t{CTN_UNLIMITED}}), "max");
  EXPECT_EQ(to_string(Value{std::string("0-3")}), "0-3");
}

/* What the core and `run` rely on: numbers in bounds, and names that are used once. */
TEST(Registry, IsConsistent) {
  std::set<std::uint32_t> ids;
  std::set<std::string> names;
  std::set<std::string> run_options;
  for (const Subsystem* subsystem : subsystems()) {
    EXPECT_LT(subsystem->id, std::uint32_t{CTN_MAX_SUBSYS});
    EXPECT_TRUE(ids.insert(subsystem->id).second) << subsystem->name;
    EXPECT_TRUE(names.insert(subsystem->name).second) << subsystem->name;
    EXPECT_TRUE(
        check_hierarchy_name(subsystem->name).has_value()); /* it stands for its hierarchy */
    EXPECT_EQ(find_subsystem(subsystem->name), subsystem);
    std::set<std::string> attributes;
    for (const Attribute& attribute : subsystem->attributes) {
      EXPECT_TRUE(attributes.insert(attribute.name).second) << attribute.name;
      EXPECT_NE(attribute.read, nullptr) << attribute.name;
      EXPECT_NE(std::string(attribute.help), "") << attribute.name;
      if (attribute.run_option == nullptr) continue;
      EXPECT_NE(attribute.prepare, nullptr) << attribute.name;
      EXPECT_TRUE(run_options.insert(attribute.run_option).second) << attribute.run_option;
    }
  }
  EXPECT_EQ(find_subsystem("nosuch"), nullptr);
  EXPECT_EQ(find_subsystem(""), nullptr);
}

}  // namespace
}  // namespace ctnbpf
