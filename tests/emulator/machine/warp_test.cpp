// SPDX-License-Identifier: Apache-2.0
// Collectives: lanes meet, or the report says which did not.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <vector>

namespace sale::emulator {
namespace {

using testing::HasSubstr;

/// The sum of the lanes' values.
u32 sum(Thread &thread, const Instruction &instruction, u32 value, u32 mask = 0xffffffffU) {
  u64 slot = value;
  thread.warp().collective(
      thread, instruction, &slot,
      [](const LaneSlots &lanes) {
        u64 total = 0;
        for (const u64 *each : lanes) {
          total += each == nullptr ? 0 : *each;
        }
        for (u64 *each : lanes) {
          if (each != nullptr) {
            *each = total;
          }
        }
      },
      mask);
  return static_cast<u32>(slot);
}

TEST(Warp, LanesMeetInCollectives) {
  std::vector<u32> sums(128);
  const Outcome outcome = run(128, 0, [&](Thread &thread) {
    u32 total = 0;
    for (u32 round = 0; round < 10; ++round) {
      total += sum(thread, shuffle, thread.index() + round);
    }
    sums[thread.index()] = total;
  });
  EXPECT_EQ(outcome.report, "");
  for (u32 i = 0; i < 128; ++i) {
    const u32 first = i / 32 * 32;
    EXPECT_EQ(sums[i], 10 * (32 * first + 31 * 16) + 32 * 45) << i;
  }
}

TEST(Warp, TwoHalvesMeetApartAndThenTogether) {
  std::vector<u32> sums(32);
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    const bool low = thread.lane() < 16;
    const u32 half = low ? sum(thread, shuffle, 1, 0xffffU) : sum(thread, vote, 2, 0xffff0000U);
    sums[thread.lane()] = sum(thread, shuffle, half);
  });
  EXPECT_EQ(outcome.report, "");
  EXPECT_THAT(sums, testing::Each(16 * 16 + 16 * 32));
}

TEST(Warp, ALaneMayMeetOthersOnItsWayToACollective) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    if (thread.lane() >= 30) {
      sum(thread, vote, 1, 0xc0000000U); // while the others already wait for these two
    }
    sum(thread, shuffle, 1);
  });
  EXPECT_EQ(outcome.report, "");
}

TEST(Warp, LanesAtDifferentCollectivesAreReportedWithBothSites) {
  const Outcome outcome =
      run(32, 0, [&](Thread &thread) { sum(thread, thread.lane() == 5 ? vote : shuffle, thread.lane()); });
  EXPECT_THAT(outcome.report, HasSubstr("meet different collectives"));
  EXPECT_THAT(outcome.report, HasSubstr("lanes 0-4 "));
  EXPECT_THAT(outcome.report, HasSubstr("shfl.sync at test.cuh:40 in kernel"));
  EXPECT_THAT(outcome.report, HasSubstr("lane 5 (mask 0xffffffff) at vote.sync at test.cuh:50 in kernel"));
}

TEST(Warp, LanesWithDifferentMasksAreReported) {
  const Outcome outcome = run(
      32, 0, [&](Thread &thread) { sum(thread, shuffle, thread.lane(), thread.lane() == 0 ? 0xffU : 0xffffffffU); });
  EXPECT_THAT(outcome.report, HasSubstr("meet different collectives"));
  EXPECT_THAT(outcome.report, HasSubstr("0x000000ff"));
}

TEST(Warp, AMaskWithoutItsOwnLaneIsReported) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) { sum(thread, shuffle, 0, 0x2U << thread.lane()); });
  EXPECT_THAT(outcome.report, HasSubstr("leaves out its own lane"));
}

TEST(Warp, ALaneThatReturnsWhileOthersWaitForItIsReported) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    if (thread.lane() != 31) {
      sum(thread, shuffle, 1);
    }
  });
  EXPECT_THAT(outcome.report, HasSubstr("returns while lanes 0-30 of its warp wait for it"));
  EXPECT_THAT(outcome.report, HasSubstr("thread 31 (warp 0, lane 31)"));
}

TEST(Warp, ACollectiveWithLanesThatReturnedIsReported) {
  const Outcome outcome = run(32, 0, [&](Thread &thread) {
    if (thread.lane() != 0) {
      sum(thread, shuffle, 1);
    }
  });
  EXPECT_THAT(outcome.report, HasSubstr("names lane 0, which returned already"));
}

TEST(Warp, ACollectiveWithLanesBeyondTheCtaIsReported) {
  const Outcome outcome = run(40, 0, [&](Thread &thread) { sum(thread, shuffle, 1); });
  EXPECT_THAT(outcome.report, HasSubstr("names lanes 8-31, which the CTA does not have"));
}

} // namespace
} // namespace sale::emulator
