/* The window of the load, over charges that lie in it and across its ends. */
#include "cpuacct/cpuacct.h"

#include <gtest/gtest.h>

namespace {

constexpr __u64 kSecond = 1'000'000'000;

/* As the program for switches does it: a slice of `ran` that ends at `now`. */
void charge(cpuacct_cell& cell, __u64 now, __u64 ran) {
  __u64 before = cell.usage;
  cell.usage += ran;
  if (now >= cell.window_end) cpuacct_turn_window(&cell, now, ran, before);
}

TEST(CpuacctWindow, HasWhatWasUsedInTheFullWindowBefore) {
  cpuacct_cell cell = {};
  charge(cell, 12 * kSecond, 1 * kSecond); /* the first ever */
  EXPECT_EQ(cell.last_window, 0u);
  charge(cell, 15 * kSecond, 2 * kSecond);
  charge(cell, 19 * kSecond, 3 * kSecond);
  EXPECT_EQ(cell.last_window, 0u); /* 10 to 20 is not over */
  charge(cell, 21 * kSecond, kSecond / 2);
  EXPECT_EQ(cell.last_window, 6 * kSecond);
  EXPECT_EQ(cell.window_end, 30 * kSecond);
}

TEST(CpuacctWindow, ASliceAcrossTheEndIsSplitThere) {
  cpuacct_cell cell = {};
  charge(cell, 12 * kSecond, 1 * kSecond);
  charge(cell, 23 * kSecond, 8 * kSecond); /* 15 to 23 */
  EXPECT_EQ(cell.last_window, 6 * kSecond);
  charge(cell, 30 * kSecond, 1 * kSecond); /* ends where the window does */
  EXPECT_EQ(cell.last_window, 4 * kSecond);
}

TEST(CpuacctWindow, ASliceOverSeveralWindowsFillsTheLast) {
  cpuacct_cell cell = {};
  charge(cell, 12 * kSecond, 1 * kSecond);
  charge(cell, 55 * kSecond, 40 * kSecond); /* 15 to 55: all of 40 to 50 */
  EXPECT_EQ(cell.last_window, 10 * kSecond);
  charge(cell, 61 * kSecond, 2 * kSecond); /* 59 to 61; 50 to 55 before that */
  EXPECT_EQ(cell.last_window, 6 * kSecond);
}

TEST(CpuacctWindow, AnIdleWindowIsEmpty) {
  cpuacct_cell cell = {};
  charge(cell, 12 * kSecond, 1 * kSecond);
  charge(cell, 45 * kSecond, 1 * kSecond); /* nothing from 20 to 44 */
  EXPECT_EQ(cell.last_window, 0u);
  charge(cell, 52 * kSecond, 1 * kSecond);
  EXPECT_EQ(cell.last_window, 1 * kSecond);
}

}  // namespace
