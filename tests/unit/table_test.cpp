/* The tables of kernel objects (struct ctn_key): where keys lie, tried without a kernel. */
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "ctnbpf/abi.h"

namespace ctnbpf {
namespace {

/* Enters objects as bpf/table.bpf.h does; how many places were tried for each is counted. */
class Table {
 public:
  explicit Table(std::uint32_t places) : taken_(places), tried_(CTN_KEY_TRIES) {}

  bool insert(std::uint64_t object) {
    auto places = static_cast<std::uint32_t>(taken_.size());
    std::uint64_t hash = ctn_key_hash(static_cast<__u32>(object));
    for (std::size_t i = 0; i < CTN_KEY_TRIES; i++, hash = ctn_key_next(hash)) {
      std::size_t place = ctn_key_home(hash, places);
      if (place >= places) return false;
      if (taken_[place]) continue;
      taken_[place] = true;
      tried_[i]++;
      return true;
    }
    return false;
  }

  std::uint32_t tried(std::size_t places) const { return tried_[places - 1]; }

 private:
  std::vector<bool> taken_;
  std::vector<std::uint32_t> tried_;
};

/* Objects of a cache of the slab allocator: slabs of 32 KiB anywhere in memory, from their start on. */
template <typename One>
void each_object(std::uint32_t count, std::uint32_t size, const One& one) {
  constexpr std::uint64_t kSlab = 32768, kMemory = 0xffff888000000000;
  std::uint64_t random = 1;
  while (count > 0) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    std::uint64_t slab = kMemory + (random >> 40) * kSlab;
    for (std::uint64_t at = 0; at + size <= kSlab && count > 0; at += size, count--) one(slab + at);
  }
}

class TableOf : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(TableOf, ObjectsFindPlacesWhenTwoThirdsAreTaken) {
  constexpr std::uint32_t kObjects = 131072;
  Table table(kObjects * 3 / 2);
  std::uint32_t lost = 0;
  each_object(kObjects, GetParam(), [&](std::uint64_t object) { lost += !table.insert(object); });
  EXPECT_EQ(lost, 0u);
  EXPECT_GT(table.tried(1), kObjects / 2); /* at home */
  std::uint32_t far = 0;
  for (std::size_t i = CTN_KEY_TRIES / 2; i <= CTN_KEY_TRIES; i++) far += table.tried(i);
  EXPECT_LT(far, 10u);
}

TEST_P(TableOf, AFewAreAlmostAllAtHome) {
  Table table(131072 * 3 / 2);
  each_object(1000, GetParam(), [&](std::uint64_t object) { EXPECT_TRUE(table.insert(object)); });
  EXPECT_GT(table.tried(1), 970u);
}

TEST_P(TableOf, ASmallOneFillsToo) {
  Table table(64 * 3 / 2);
  each_object(64, GetParam(), [&](std::uint64_t object) { EXPECT_TRUE(table.insert(object)); });
}

/* struct file, struct task_struct of several kernels, and a whole page. */
INSTANTIATE_TEST_SUITE_P(Sizes, TableOf,
                         ::testing::Values(192, 232, 256, 4096, 7040, 9536, 9792, 13120, 16384));

}  // namespace
}  // namespace ctnbpf
