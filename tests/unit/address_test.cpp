/* Addresses, names, printing. */
#include "ctnbpf/address.h"

#include <gtest/gtest.h>

#include "ctnbpf/abi.h"

namespace ctnbpf {
namespace {

using Path = std::vector<std::string>;

TEST(Address, Parts) {
  auto root = parse_address("default:/");
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(root->hierarchy, "default");
  EXPECT_TRUE(root->path.empty());
  auto deep = parse_address("numtasks:/build/42");
  ASSERT_TRUE(deep.has_value());
  EXPECT_EQ(deep->hierarchy, "numtasks");
  EXPECT_EQ(deep->path, (Path{"build", "42"}));
}

TEST(Address, ToStringIsTheNormalForm) {
  EXPECT_EQ(parse_address("h:/")->to_string(), "h:/");
  EXPECT_EQ(parse_address("h://a//b/")->to_string(), "h:/a/b");
}

/* The first ":/" parts; more of them are the path's business. */
TEST(Address, ColonsInNames) {
  EXPECT_EQ(parse_address("h:/a:/b")->path, (Path{"a:", "b"}));
  EXPECT_EQ(parse_address("a:b:/c")->hierarchy, "a:b");
}

TEST(Address, NeedsAHierarchy) {
  for (const char* text : {"", "a", "/a", ":/a", "h:", "h:a", "h/a"}) {
    auto parsed = parse_address(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, EINVAL);
    EXPECT_NE(parsed.error().what.find("HIER:/path"), std::string::npos);
  }
}

TEST(Address, ChecksEachName) {
  for (const char* text : {"h:/.", "h:/a/../b", "h:/a\tb", "h:/\x7f"}) {
    auto parsed = parse_address(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, EINVAL);
    EXPECT_TRUE(parsed.error().what.starts_with("address '")) << parsed.error().what;
  }
  EXPECT_EQ(parse_address(std::string("h:/a\0b", 6)).error().code, EINVAL);
}

/* An endless address makes no endless message. */
TEST(Address, MessagesAreBounded) {
  EXPECT_LT(parse_address(std::string(1'000'000, 'x')).error().what.size(), 400u);
  EXPECT_LT(parse_address("h:/" + std::string(1'000'000, 'x')).error().what.size(), 500u);
}

TEST(ContainerName, Allowed) {
  for (const char* name : {"a", "-dash", "...", ".hidden", "with blank", "a:b", "\\", "'\"",
                           "gr\xc3\xbc\xc3\x9f", "\xf0\x9f\x93\xa6", "latin1-\xe9"})
    EXPECT_TRUE(check_container_name(name).has_value()) << name;
  EXPECT_TRUE(check_container_name(std::string(CTN_NAME_MAX, 'n')).has_value());
}

TEST(ContainerName, Refused) {
  for (const char* name :
       {"", ".", "..", "a/b", "/", "a\nb", "\x1b[31m", "\x7f", "\xc2\x80", "a\xc2\x9f"})
    EXPECT_EQ(check_container_name(name).error().code, EINVAL) << name;
  auto long_name = check_container_name(std::string(CTN_NAME_MAX + 1, 'n'));
  EXPECT_EQ(long_name.error().code, EINVAL);
  EXPECT_NE(long_name.error().what.find("256 bytes"), std::string::npos) << long_name.error().what;
}

TEST(HierarchyName, Rules) {
  for (const char* name : {"a", "default", "A-b_c.9", "9", "."})
    EXPECT_TRUE(check_hierarchy_name(name).has_value()) << name;
  EXPECT_TRUE(check_hierarchy_name(std::string(CTN_HIER_NAME_MAX, 'h')).has_value());
  for (const char* name : {"", "-a", "a b", "a:b", "a/b", "\xc3\xbc", "a\n"})
    EXPECT_EQ(check_hierarchy_name(name).error().code, EINVAL) << name;
  EXPECT_EQ(check_hierarchy_name(std::string(CTN_HIER_NAME_MAX + 1, 'h')).error().code, EINVAL);
}

TEST(Printable, TellsControlCharactersFromText) {
  for (const char* text : {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xff", "back\\slash"})
    EXPECT_FALSE(has_control(text)) << text;
  for (const char* text : {"\n", "a\x1b[31m", "\x7f", "x\xc2\x9b"})
    EXPECT_TRUE(has_control(text)) << printable(text);
}

TEST(Printable, LeavesTextAlone) {
  for (const char* text : {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xe2\x94\x94\xe2\x94\x80",
                           "\xf0\x9f\x93\xa6", "\xc2\xa0", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(printable("a\x1b[31mb\n\x7f"), "a\\x1b[31mb\\x0a\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("back\\slash"), "back\\\\slash"); /* so that it can be undone */
}

TEST(Printable, EscapesWhatTurnsTheLine) {
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            R"(a\xe2\x80\xaeb)");
  for (const char* text :
       {"\xd8\x9c", "\xe2\x80\x8e", "\xe2\x80\xa8", "\xe2\x81\xa6", "\xe2\x81\xa9"})
    EXPECT_EQ(printable(text).substr(0, 2), "\\x") << printable(text);
  for (const char* text :
       {"\xe2\x80\x8d", "\xe2\x80\xa6", "\xe2\x81\xa5", "\xe2\x82\xac", "\xd8\x9b"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, CanBeGivenBack) {
  for (const std::string& name :
       {std::string("plain"), std::string("\xff"), std::string(R"(\xff)"), std::string(R"(\\xff)"),
        std::string(R"(back\slash)"), std::string(R"(dev-a\x2db)"), std::string(R"(\)"),
        std::string(R"(\\)"), std::string("\\\xff"), std::string("a\x1b[31m\n"),
        std::string("\xc2\x9b"
                    "31m"),
        std::string("\xef\xbf\xbd"), std::string("\x00z", 2),
        std::string("a\xe2\x80\xae"
                    "b"),
        std::string(R"(caf\xc3\xa9)"), std::string(R"(\xFF)")}) {
    EXPECT_EQ(from_printable(printable(name)), name) << printable(name);
    EXPECT_EQ(from_printable(portable(name)), name) << printable(name);
  }
  /* What printable() does not make stands for itself. */
  for (const char* name : {"plain", R"(a\b)", R"(dev-a\x2db)", R"(\)", R"(\x4)", R"(\xFF)",
                           R"(caf\xc3\xa9)", "\\\\\xff"})
    EXPECT_EQ(from_printable(name), name) << name;
  EXPECT_EQ(from_printable(R"(\\)"), R"(\)");
  EXPECT_EQ(from_printable(R"(\xff)"), "\xff");
}

/* For JSON: itself, where that is text and stands for itself. */
TEST(Printable, PortableIsUtf8) {
  for (const char* name :
       {"plain", R"(a\b)", "gr\xc3\xbc\xc3\x9f", "a\x1b[31m", "\xc2\x9b", "\x7f"})
    EXPECT_EQ(portable(name), name);
  EXPECT_EQ(portable("\xff"), R"(\xff)");
  EXPECT_EQ(portable(R"(\xff)"), R"(\\xff)");
  EXPECT_EQ(portable(R"(\\)"), R"(\\\\)");
}

TEST(Printable, HarmlessLeavesBackslashesAlone) {
  EXPECT_EQ(harmless(R"('a\\b' is \xff)"), R"('a\\b' is \xff)");
  EXPECT_EQ(harmless("a\x1b[31m\xff\\"), R"(a\x1b[31m\xff\)");
}

TEST(Address, NamesMayBeGivenAsTheyArePrinted) {
  EXPECT_EQ(parse_address(R"(default:/\xff/a\b/a\\b/dev-a\x2db)")->path,
            (std::vector<std::string>{"\xff", R"(a\b)", R"(a\b)", R"(dev-a\x2db)"}));
  EXPECT_EQ(parse_address(R"(default:/a\x2fb)")->path, (std::vector<std::string>{R"(a\x2fb)"}));
  EXPECT_EQ(parse_address(R"(default:/\x1b)").error().code, EINVAL);
}

TEST(Printable, EscapesInvalidUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\x80"), "\\x80");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");          /* overlong '/' */
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf"); /* overlong */
  EXPECT_EQ(printable("\xf0\x80\x80\xaf"), "\\xf0\\x80\\x80\\xaf");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");          /* surrogate */
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"); /* past U+10FFFF */
  EXPECT_EQ(printable("\xe2\x94"), "\\xe2\\x94");                   /* cut short */
  EXPECT_EQ(printable("\xc3z"), "\\xc3z");
}

}  // namespace
}  // namespace ctnbpf
