/* Mistyped words. */
#include "ctnbpf/nearest.h"

#include <gtest/gtest.h>

namespace ctnbpf {
namespace {

TEST(Nearest, SlipsAreCounted) {
  EXPECT_EQ(distance("create", "create", 2), 0u);
  EXPECT_EQ(distance("crate", "create", 2), 1u);
  EXPECT_EQ(distance("craete", "create", 2), 1u) << "two neighbours swapped are one slip";
  EXPECT_EQ(distance("crete", "craete", 2), 1u);
  EXPECT_EQ(distance("x", "create", 2), 3u) << "no more than asked for plus one";
  EXPECT_EQ(distance("", "ab", 2), 2u);
}

TEST(Nearest, TheWordThatWasMeant) {
  const std::vector<std::string> words = {"create",       "rm",         "rename", "set",
                                          "stat",         "subsystems", "tree",   "numtasks.limit",
                                          "numtasks.peak"};
  for (const auto& [given, meant] :
       std::vector<std::pair<std::string, std::string>>{{"crate", "create"},
                                                        {"raname", "rename"},
                                                        {"staat", "stat"},
                                                        {"sub", "subsystems"},
                                                        {"te", ""},
                                                        {"limit", "numtasks.limit"},
                                                        {"numtask.limit", "numtasks.limit"},
                                                        {"numtasks.lmit", "numtasks.limit"},
                                                        {"ser", "set"},
                                                        {"set", "set"},
                                                        {"nosuch", ""},
                                                        {"", ""},
                                                        {"c", ""},
                                                        {std::string(5000, 'c'), ""}})
    EXPECT_EQ(nearest(given, words), meant) << given;
  EXPECT_EQ(did_you_mean("crate", words), " did you mean `create`?");
  EXPECT_EQ(did_you_mean("nosuch", words), "");
  EXPECT_EQ(did_you_mean("a\\bb", {"a\\b"}), " did you mean `a\\\\b`?");
}

}  // namespace
}  // namespace ctnbpf
