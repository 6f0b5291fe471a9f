// SPDX-License-Identifier: Apache-2.0
// Grids over workers, seeds, and faults that end a launch.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

TEST(Launch, EveryThreadOfEveryCtaRunsOnce) {
  for (const int workers : {1, 3}) {
    std::vector<std::atomic<int>> ran(5 * 3 * 2 * 64);
    const Outcome outcome = run({.grid = {5, 3, 2}, .block = {64, 1, 1}},
                                [&](Thread &thread) {
                                  const Dim3 block = thread.cta().block_index();
                                  const Dim3 grid = thread.cta().grid();
                                  const u32 cta = (block.z * grid.y + block.y) * grid.x + block.x;
                                  ++ran[cta * 64 + thread.index()];
                                  Barrier::wait(thread);
                                },
                                {.workers = workers});
    EXPECT_EQ(outcome.report, "");
    for (const auto &each : ran) {
      EXPECT_EQ(each, 1);
    }
  }
}

TEST(Launch, AFaultInOneCtaEndsAll) {
  for (const int workers : {1, 2, 4}) {
    std::atomic<int> ended = 0;
    const Outcome outcome = run({.grid = {1000, 1, 1}, .block = {32, 1, 1}},
                                [&](Thread &thread) {
                                  Barrier::wait(thread);
                                  if (thread.cta().block_index().x == 7 && thread.lane() == 9) {
                                    fault(thread, load, "Wrong");
                                  }
                                  Barrier::wait(thread);
                                  ++ended;
                                },
                                {.workers = workers});
    EXPECT_THAT(outcome.report, HasSubstr("Wrong\n  by thread 9 (warp 0, lane 9) of CTA (7, 0, 0)"));
    EXPECT_LT(ended, 1000 * 32);
  }
}

TEST(Launch, AfterAFaultTheNextLaunchIsSound) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_NE(run(256, 1024, [](Thread &thread) { get(thread, thread.index()); }).report, "");
    EXPECT_EQ(run(256, 1024, [](Thread &thread) { put(thread, thread.index(), 1); }).report, "");
  }
}

TEST(Launch, AFaultInAnEventEndsTheLaunch) {
  const Outcome outcome = run(64, 0, [](Thread &thread) {
    if (thread.index() == 0) {
      thread.cta().post([&thread] { fault(thread, copy, "Wrong copy"); });
    }
    Barrier::wait(thread);
  });
  EXPECT_THAT(outcome.report, HasSubstr("Wrong copy\n  by thread 0"));
}

/// In which order threads of four warps pass a yield.
std::vector<u32> order_of(u64 seed, int workers) {
  std::vector<std::vector<u32>> orders(4);
  run({.grid = {4, 1, 1}, .block = {128, 1, 1}},
      [&](Thread &thread) {
        for (int round = 0; round < 3; ++round) {
          orders[thread.cta().block_index().x].push_back(thread.index());
          thread.yield();
        }
        Barrier::wait(thread);
      },
      {.seed = seed, .workers = workers});
  std::vector<u32> all;
  for (const auto &each : orders) {
    all.insert(all.end(), each.begin(), each.end());
  }
  return all;
}

TEST(Launch, TheSameSeedGivesTheSameOrderWithAnyNumberOfWorkers) {
  for (const u64 seed : {0U, 1U, 2U}) {
    EXPECT_EQ(order_of(seed, 1), order_of(seed, 3));
  }
  EXPECT_NE(order_of(1, 1), order_of(2, 1));
  EXPECT_NE(order_of(0, 1), order_of(1, 1));
}

TEST(Launch, ASeedShufflesEvents) {
  const auto order = [](u64 seed) {
    std::vector<int> landed;
    run(1, 0,
        [&](Thread &thread) {
          for (int i = 0; i < 20; ++i) {
            thread.cta().post([&landed, i] { landed.push_back(i); });
          }
        },
        {.seed = seed});
    return landed;
  };
  const std::vector<int> in_order = order(0);
  EXPECT_TRUE(std::is_sorted(in_order.begin(), in_order.end()));
  EXPECT_EQ(order(3), order(3));
  EXPECT_NE(order(3), order(4));
  EXPECT_THAT(order(3), testing::UnorderedElementsAreArray(in_order));
}

TEST(Launch, BlocksThatCannotRunAreRefused) {
  const auto nothing = [](Thread &) {};
  EXPECT_THAT(run({.grid = {}, .block = {32, 2, 1}}, nothing).report, HasSubstr("(32, 2, 1) threads"));
  EXPECT_THAT(run({.grid = {}, .block = {1025, 1, 1}}, nothing).report, HasSubstr("(1025, 1, 1) threads"));
  EXPECT_THAT(run({.grid = {0, 1, 1}, .block = {32, 1, 1}}, nothing).report, HasSubstr("empty"));
}

TEST(Launch, ACtaOf1024ThreadsRuns) {
  u32 sum = 0;
  EXPECT_EQ(run(1024, 0,
                [&](Thread &thread) {
                  Barrier::wait(thread);
                  sum += thread.index();
                })
                .report,
            "");
  EXPECT_EQ(sum, 1023U * 512);
}

} // namespace
} // namespace sale::emulator
