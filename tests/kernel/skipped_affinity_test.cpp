/* The affinity driver's hooks where the kernel skips tracing programs: each call of sched_setaffinity is judged
 * by its own mask. */
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "ctnbpf/levels.h"
#include "placement_test.h"
#include "skipped_runs.h"
#include "storm.h"

namespace ctnbpf::test {
namespace {

class SkippedAffinity : public PlacementTest {};

struct Calls {
  std::atomic<bool> go{true};
  std::atomic<long> inside{0};         /* to masks within the set */
  std::atomic<long> inside_refused{0}; /* of those */
  std::atomic<long> outside{0};
  std::atomic<long> outside_done{0};
};

TEST_F(SkippedAffinity, EachCallIsJudgedByItsOwnMask) {
  NEED(need_cpus(2));
  NEED(need_refusals());
  use_driver("affinity");
  create("p:/x", {"cpuset.cpus=0"});
  SkippedRuns skipped(pins());
  auto strayed = [&] { return static_cast<long>(load(state().core().misses[CTN_MISS_STRAYED])); };
  long before = strayed();
  auto* calls = new (::mmap(nullptr, sizeof(Calls), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Calls;
  std::vector<Background> members;
  for (int i = 0; i < 6; i++)
    members.push_back(start_in("p:/x", [&] {
      for (int turn = 0; calls->go; turn++) {
        bool inside = turn % 3 == 0;
        int error = set_mask(inside ? "0" : turn % 3 == 1 ? "1" : "0-1");
        (inside ? calls->inside : calls->outside)++;
        if (inside && error != 0) calls->inside_refused++;
        if (!inside && error != EINVAL) calls->outside_done++;
      }
      return 0;
    }));
  EXPECT_FALSE(eventually([] { return false; }, std::chrono::seconds(storm_seconds())));
  calls->go = false;
  for (Background& member : members) EXPECT_EQ(member.wait(), 0);
  long noticed = strayed() - before;
  std::printf(
      "%ld calls to masks inside, %ld of them refused; %ld outside, %ld of them done, %ld noticed; "
      "skipped runs %lu: %s\n",
      calls->inside.load(), calls->inside_refused.load(), calls->outside.load(),
      calls->outside_done.load(), noticed, skipped.sum(), skipped.each().c_str());
  EXPECT_GT(calls->inside, 0);
  EXPECT_EQ(calls->inside_refused, 0);
  /* At level fallback all programs that can refuse may have been skipped; the next writer puts it right. */
  EXPECT_EQ(noticed, calls->outside_done);
  if (state().core().level[CTN_HOOKS_PLACE] == CTN_LEVEL_STRICT || !kernel_facts().preempts()) {
    EXPECT_EQ(calls->outside_done, 0);
  }
  ::munmap(calls, sizeof(Calls));
}

}  // namespace
}  // namespace ctnbpf::test
