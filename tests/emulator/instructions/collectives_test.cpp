// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace sale::emulator::test {
namespace {

constexpr u64 all_lanes = 0xffffffffU;

/// What CUDA's __shfl_*_sync(value, b, width) returns for lane-numbered values.
u32 shuffled(const std::string &mode, u32 lane, u32 b, u32 width) {
  const u32 base = lane / width * width;
  if (mode == "idx") {
    return base + b % width;
  }
  if (mode == "up") {
    return lane - base >= b ? lane - b : lane;
  }
  if (mode == "down") {
    return lane - base + b < width ? lane + b : lane;
  }
  return (lane ^ b) < base + width ? lane ^ b : lane;
}

TEST(Collectives, ShufflesTakeTheLaneThatCudaNames) {
  for (const std::string mode : {"idx", "up", "down", "bfly"}) {
    const Instruction shuffle = make("shfl.sync." + mode + ".b32", {value(2), value(), value(), value(), value()});
    for (const u32 width : {32U, 16U, 8U, 2U}) {
      for (u32 b = 0; b < width; ++b) {
        const u64 c = (32 - width) << 8U | (mode == "up" ? 0 : 31);
        expect_run([&](Thread &thread) {
          const u32 lane = thread.lane();
          const Slots got = execute(shuffle, {0, 0, 1000 + lane, b, c, all_lanes});
          EXPECT_EQ(got[0], 1000 + shuffled(mode, lane, b, width)) << mode << " " << width << " " << b;
          const bool within = mode == "idx" || b == 0 || shuffled(mode, lane, b, width) != lane;
          EXPECT_EQ(got[1], within ? 1U : 0U) << mode << " " << width << " " << b << " lane " << lane;
        });
      }
    }
  }
}

TEST(Collectives, AShuffleFromALaneOutsideTheMaskFaults) {
  const Instruction shuffle = make("shfl.sync.idx.b32", {value(), value(), value(), value(), value()});
  expect_fault("lane 9, which is not in the member mask 0x000000ff", [&](Thread &thread) {
    if (thread.lane() < 8) {
      execute(shuffle, {0, 0, 9, 31, 0xff});
    }
  });
}

TEST(Collectives, ALaneOutsideItsOwnMaskFaults) {
  const Instruction vote = make("vote.sync.ballot.b32", {value(), predicate(), value()});
  expect_fault("lane 16 is not in the member mask", [&](Thread &thread) {
    if (thread.lane() == 16) {
      execute(vote, {0, 1, 0xffff});
    }
  });
}

TEST(Collectives, DivergentCollectivesFault) {
  const Instruction one = make("shfl.sync.bfly.b32", {value(), value(), value(), value(), value()});
  const Instruction other = one;
  const std::string report =
      run([&](Thread &thread) { execute(thread.lane() == 5 ? one : other, {0, 0, 1, 31, all_lanes}); });
  EXPECT_NE(report.find("shfl.sync.bfly.b32"), std::string::npos) << report;
  expect_fault("vote.sync.any.pred",
               [&](Thread &thread) {
                 const Instruction vote = make("vote.sync.any.pred", {predicate(), predicate(), value()});
                 execute(vote, {0, 0, thread.lane() < 16 ? all_lanes : 0xffff0000U});
               },
               {.threads = 32});
}

TEST(Collectives, ALaneThatReturnedIsMissed) {
  const Instruction sync = make("bar.warp.sync", {value()});
  const std::string report = run([&](Thread &thread) {
    if (thread.lane() != 3) {
      execute(sync, {all_lanes});
    }
  });
  EXPECT_NE(report.find("bar.warp.sync"), std::string::npos) << report;
}

TEST(Collectives, VotesCountTheMembers) {
  const auto result = [](const std::string &mode, u32 mask, u32 holding) {
    const Instruction vote = make("vote.sync." + mode, {value(), predicate(), value()});
    u64 got = 0;
    expect_run([&](Thread &thread) {
      if ((mask >> thread.lane() & 1U) != 0) {
        got = execute(vote, {0, holding >> thread.lane() & 1U, mask})[0];
      }
    });
    return got;
  };
  EXPECT_EQ(result("ballot.b32", 0x0ff0ff00U, 0x12345678U), 0x02305600U);
  EXPECT_EQ(result("any.pred", 0xffU, 0x100U), 0U);
  EXPECT_EQ(result("any.pred", 0xffU, 0x80U), 1U);
  EXPECT_EQ(result("all.pred", 0xffU, 0xffU), 1U);
  EXPECT_EQ(result("all.pred", 0xffU, 0xfeU), 0U);
  EXPECT_EQ(result("uni.pred", 0xffU, 0xf00U), 1U);
  EXPECT_EQ(result("uni.pred", 0xffU, 0xff0U), 0U);
}

TEST(Collectives, MatchFindsEqualValues) {
  const Instruction any = make("match.any.sync.b32", {value(), value(), value()});
  const Instruction all = make("match.all.sync.b64", {value(2), value(), value()});
  expect_run([&](Thread &thread) {
    const u32 lane = thread.lane();
    EXPECT_EQ(execute(any, {0, lane % 4, all_lanes})[0], 0x11111111U << lane % 4);
    const Slots same = execute(all, {0, 0, u64{1} << 40U, all_lanes});
    EXPECT_EQ(same[0], all_lanes);
    EXPECT_EQ(same[1], 1U);
    const Slots different = execute(all, {0, 0, u64{lane == 31} << 40U, all_lanes});
    EXPECT_EQ(different[0], 0U);
    EXPECT_EQ(different[1], 0U);
  });
}

TEST(Collectives, ReductionsEqualALoop) {
  std::mt19937 random(1);
  std::array<u32, 32> values{};
  std::generate(values.begin(), values.end(), random);
  const auto reduced = [&](const std::string &operation) {
    const Instruction redux = make("redux.sync." + operation, {value(), value(), value()});
    u64 got = 0;
    expect_run([&](Thread &thread) { got = execute(redux, {0, values[thread.lane()], all_lanes})[0]; });
    return got;
  };
  u32 sum = 0;
  u32 conjunction = all_lanes;
  u32 disjunction = 0;
  u32 parity = 0;
  for (const u32 x : values) {
    sum += x;
    conjunction &= x;
    disjunction |= x;
    parity ^= x;
  }
  const auto by_sign = [](u32 a, u32 b) { return static_cast<s32>(a) < static_cast<s32>(b); };
  EXPECT_EQ(reduced("add.u32"), sum);
  EXPECT_EQ(reduced("add.s32"), sum);
  EXPECT_EQ(reduced("and.b32"), conjunction);
  EXPECT_EQ(reduced("or.b32"), disjunction);
  EXPECT_EQ(reduced("xor.b32"), parity);
  EXPECT_EQ(reduced("min.u32"), *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(reduced("max.u32"), *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(reduced("min.s32"), *std::min_element(values.begin(), values.end(), by_sign));
  EXPECT_EQ(reduced("max.s32"), *std::max_element(values.begin(), values.end(), by_sign));
}

TEST(Collectives, OneLaneIsElected) {
  const Instruction elect = make("elect.sync", {value(2), value()});
  expect_run([&](Thread &thread) {
    if (thread.lane() >= 4) {
      const Slots got = execute(elect, {0, 0, 0xfffffff0U});
      EXPECT_EQ(got[0], 4U);
      EXPECT_EQ(got[1], thread.lane() == 4 ? 1U : 0U);
    }
  });
}

TEST(Collectives, LanesAreNotConvergedByThemselves) {
  expect_run([](Thread &thread) { EXPECT_EQ(execute(make("activemask.b32", {value()}))[0], 1U << thread.lane()); });
}

} // namespace
} // namespace sale::emulator::test
