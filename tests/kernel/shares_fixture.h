/* Fixture of the tests of shares over real forks. Words and pools are compared with a recount over all
 * tasks at the end of each test (fsck in TearDown). */
#pragma once

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "ctnbpf/fsck.h"
#include "ctnbpf/attributes.h"
#include "kernel_test.h"
#include "numtasks/numtasks.h"
#include "workload.h"

namespace ctnbpf::test {

inline int storm_seconds() {
  const char* text = std::getenv("CTNBPF_STORM_SECONDS");
  return text != nullptr ? std::atoi(text) : 2;
}

class Shares : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) need_level(CTN_LEVEL_FALLBACK);
  }

  /* The error of one setting, or none. */
  Result<void> try_set(const std::string& address, const std::string& setting) {
    auto writer = Writer::open(pins());
    if (!writer) return writer.error();
    auto slot = tree::find(*writer, address);
    if (!slot) return slot.error();
    return set_attributes(*writer, *slot, {setting}, false);
  }

  std::vector<std::string> problems() {
    auto writer = Writer::open(pins());
    EXPECT_TRUE(writer.has_value());
    auto report = fsck(*writer, false);
    EXPECT_TRUE(report.has_value());
    return report->problems;
  }

  /* Starts `count` sleepers and their parent in `address`, and waits until all are there. */
  Background hold(const std::string& address, int count) {
    std::array<int, 2> out = {};
    EXPECT_EQ(::pipe(out.data()), 0);
    Background child = start_in(address, [&] {
      Sleepers some(count - 1);
      char ok = some.count() == count - 1 ? 'y' : 'n';
      (void)!::write(out[1], &ok, 1);
      for (;;) ::pause();
      return 0;
    });
    char told = 0;
    EXPECT_EQ(::read(out[0], &told, 1), 1);
    EXPECT_EQ(told, 'y') << address << " cannot have " << count;
    ::close(out[0]);
    ::close(out[1]);
    return child;
  }

  /* How many tasks `address` can have, the first one included, until a fork fails with EAGAIN. */
  int fill(const std::string& address, int most = 60) {
    return start_in(address,
                    [&] {
                      Sleepers some(most);
                      return some.failed() == 0 || some.failed() == EAGAIN ? some.count() + 1 : 255;
                    })
        .wait();
  }

  void thirty_thirty_none() {
    set("default:/", {"numtasks.total_numtasks=20"});
    create("default:/a", {"numtasks.shares=min_shares=30"});
    create("default:/b", {"numtasks.shares=min_shares=30"});
    create("default:/c");
  }
};

}  // namespace ctnbpf::test
