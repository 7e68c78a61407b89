/* What `top` shows, in which order, in how much room. */
#include <gtest/gtest.h>

#include <limits>

#include "top/model.h"

namespace ctnbpf::top {
namespace {

const std::vector<Column> kColumns = {{"tasks", "tasks", 6},
                                      {"tasks_limit", "limit", 3},
                                      {"tasks_refused_rate", "ref/s", 4},
                                      {"cpu_ns", "cpu s", 1}};

Row row(const std::string& address, int depth, double tasks) {
  Row one;
  one.address = address;
  one.depth = depth;
  one.name = depth == 0 ? address : address.substr(address.rfind('/') + 1);
  one.values = {tasks, std::numeric_limits<double>::infinity(), std::nullopt, 0.0};
  return one;
}

const std::vector<Row> kTree = {row("h:/", 0, 9),    row("h:/a", 1, 1),   row("h:/a/x", 2, 1),
                                row("h:/b", 1, 7),   row("h:/b/y", 2, 2), row("h:/b/z", 2, 5),
                                row("other:/", 0, 3)};

std::string names(const View& view) {
  std::string all;
  for (const Row& one : arranged(kTree, kColumns, view)) all += one.name + " ";
  return all;
}

TEST(Top, ATreeKeepsChildrenBelowTheirParents) {
  EXPECT_EQ(names({""}), "h:/ a x b y z other:/ ");
  EXPECT_EQ(names({"tasks"}), "h:/ b z y a x other:/ ");
  EXPECT_EQ(names({"tasks", true}), "other:/ h:/ a x b y z ");
  EXPECT_EQ(names({"tasks_refused_rate"}),
            "h:/ a x b y z other:/ "); /* all unknown: as they were */
}

TEST(Top, FlatIsByTheColumnAlone) {
  EXPECT_EQ(names({"tasks", false, false}), "h:/ b z other:/ y a x ");
  EXPECT_EQ(names({"", true, false}), "other:/ z y b x a h:/ ");
}

TEST(Top, AFilterKeepsParentsInATree) {
  EXPECT_EQ(names({"", false, true, "y"}), "h:/ b y ");
  EXPECT_EQ(names({"", false, false, "y"}), "y ");
  EXPECT_EQ(names({"", false, true, "nothing"}), "");
}

TEST(Top, WhatIsWorthLeastGoesFirst) {
  auto kept = [](int width) {
    std::string all;
    for (std::size_t i : fitting(kColumns, width, 24)) all += kColumns[i].title + " ";
    return all;
  };
  EXPECT_EQ(kept(80), "tasks limit ref/s cpu s ");
  EXPECT_EQ(kept(55), "tasks limit ref/s ");
  EXPECT_EQ(kept(40), "tasks ref/s ");
  EXPECT_EQ(kept(32), "tasks ");
  EXPECT_EQ(kept(5), "");
}

TEST(Top, ACellHasRoomForAnything) {
  EXPECT_EQ(cell(kColumns[0], std::nullopt), "-");
  EXPECT_EQ(cell(kColumns[1], std::numeric_limits<double>::infinity()), "max");
  EXPECT_EQ(cell(kColumns[2], 0.04), "0.0");
  EXPECT_EQ(cell(kColumns[2], 12.6), "13");
  EXPECT_EQ(cell(kColumns[0], 9999999.0), "9999999");
  EXPECT_EQ(cell(kColumns[0], 10000000.0), "10000k");
  EXPECT_LE(cell(kColumns[0], 1.8e19).size(), static_cast<std::size_t>(kCell));
}

}  // namespace
}  // namespace ctnbpf::top
