/* The fork rate against a log of every fork that was let in. No kernel. */
#include "numtasks/forkrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace ctnbpf {
namespace {

constexpr std::uint64_t kInterval = 1'000'000'000;

struct Rate : numtasks_rate {
  __u32 sequence = 0;
};

bool admit(Rate& rate, std::uint64_t now, std::uint64_t limit, std::uint64_t interval = kInterval) {
  auto step = static_cast<__u32>(now / forkrate_step(interval));
  for (int i = 0; i < FORKRATE_RACES; i++)
    if (int said = forkrate_try_once(&rate, &rate.sequence, step, limit); said >= 0)
      return said != 0;
  return false;
}

/* Most forks of the (ascending) log in any interval, whenever it begins. */
std::size_t most_in_interval(const std::vector<std::uint64_t>& log, std::uint64_t interval) {
  std::size_t most = 0;
  std::size_t first = 0;
  for (std::size_t last = 0; last < log.size(); last++) {
    while (log[last] - log[first] >= interval) first++;
    most = std::max(most, last - first + 1);
  }
  return most;
}

TEST(ForkRate, ABurstOfTheWholeRateAndNoMore) {
  Rate rate = {};
  std::uint64_t now = 5 * kInterval + 123;
  for (int i = 0; i < 10; i++) EXPECT_TRUE(admit(rate, now, 10)) << i;
  EXPECT_FALSE(admit(rate, now, 10));
  EXPECT_FALSE(admit(rate, now + kInterval - 1, 10)) << "across the edge of a second";
  EXPECT_TRUE(admit(rate, now + kInterval + forkrate_step(kInterval), 10));
}

TEST(ForkRate, ZeroLetsNothingIn) {
  Rate rate = {};
  EXPECT_FALSE(admit(rate, 7 * kInterval, 0));
}

TEST(ForkRate, NoIntervalEverHoldsMoreThanTheRate) {
  std::mt19937_64 random(1);
  for (std::uint64_t interval : {kInterval, 3 * kInterval, std::uint64_t{1'000'003}})
    for (std::uint64_t limit : {1, 2, 7, 100}) {
      Rate rate = {};
      std::vector<std::uint64_t> log;
      std::uint64_t now = random() % (100 * interval);
      for (int i = 0; i < 20000; i++) {
        /* Bursts, pauses of about an interval, and long ones. */
        std::uint64_t pause = interval / (limit * 4);
        switch (random() % 64) {
          case 0: pause = interval; break;
          case 1: pause = 5 * interval; break;
          default: break;
        }
        now += random() % (pause + 1);
        if (admit(rate, now, limit, interval)) log.push_back(now);
      }
      EXPECT_LE(most_in_interval(log, interval), limit) << limit << " in " << interval;
      EXPECT_GT(log.size(), 100u);
    }
}

/* How much the conservative steps cost one who never pauses. */
TEST(ForkRate, AtLeastFifteenSixteenthsOfTheRateGetThrough) {
  for (std::uint64_t limit : {1, 10, 1000}) {
    Rate rate = {};
    std::uint64_t let_in = 0;
    constexpr std::uint64_t kSeconds = 140;
    for (std::uint64_t now = kInterval; now < (kSeconds + 1) * kInterval; now += kInterval / 5000)
      let_in += admit(rate, now, limit) ? 1 : 0;
    EXPECT_GE(let_in, limit * kSeconds * 15 / 16) << limit;
    EXPECT_LE(let_in, limit * (kSeconds + 1)) << limit;
  }
}

TEST(ForkRate, ALongerStepThanBeforeDoesNotLockOut) {
  Rate rate = {};
  std::uint64_t now = 1'000'000 * kInterval;
  EXPECT_TRUE(admit(rate, now, 1));
  EXPECT_TRUE(admit(rate, now, 1, 60 * kInterval)); /* the old step's number means nothing */
  EXPECT_FALSE(admit(rate, now, 1, 60 * kInterval));
}

/* Threads that read the clock before and after: a fork was let in at some time between. No interval
 * holds more than the rate of those that were let in within it for certain. */
TEST(ForkRate, ExactUnderThreads) {
  /* Long beside what a scheduler may hold a thread up after it read the clock: FORKRATE_AHEAD steps. */
  constexpr std::uint64_t kShort = 50'000'000;
  constexpr std::uint64_t kIntervals = 24;
  constexpr std::uint64_t kLimit = 50;
  using Span = std::pair<std::uint64_t, std::uint64_t>;
  Rate rate = {};
  std::atomic<bool> stop{false};
  std::vector<Span> logs[3];
  auto clock = [] {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  };
  auto work = [&](std::vector<Span>& log) {
    while (!stop)
      if (std::uint64_t now = clock(); admit(rate, now, kLimit, kShort))
        log.emplace_back(now, clock());
  };
  std::thread threads[3] = {std::thread(work, std::ref(logs[0])),
                            std::thread(work, std::ref(logs[1])),
                            std::thread(work, std::ref(logs[2]))};
  for (std::uint64_t end = clock() + kIntervals * kShort; clock() < end;) std::this_thread::yield();
  stop = true;
  for (std::thread& one : threads) one.join();
  std::vector<Span> log;
  for (const auto& one : logs) log.insert(log.end(), one.begin(), one.end());
  std::sort(log.begin(), log.end());
  for (std::size_t first = 0; first < log.size(); first++) {
    std::size_t within = 0;
    for (std::size_t i = first; i < log.size() && log[i].first < log[first].first + kShort; i++)
      if (log[i].second < log[first].first + kShort) within++;
    ASSERT_LE(within, kLimit) << "from " << log[first].first;
  }
  EXPECT_GT(log.size(), kLimit * kIntervals * 3 / 4);
}

}  // namespace
}  // namespace ctnbpf
