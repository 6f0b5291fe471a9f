// SPDX-License-Identifier: Apache-2.0
// What launches count.
#include "tests/emulator/machine/kernel.hpp"

#include <gmock/gmock.h>

#include <array>

namespace sale::emulator {
namespace {

TEST(Statistics, CountWarpInstructionsOfAllCtas) {
  const Outcome outcome = run({.grid = {10, 1, 1}, .block = {64, 1, 1}},
                              [](Thread &thread) {
                                u64 slot = 0;
                                for (int i = 0; i < 3; ++i) {
                                  thread.warp().collective(thread, shuffle, &slot, [](const LaneSlots &) {});
                                }
                                thread.warp().collective(thread, vote, &slot, [](const LaneSlots &) {});
                              },
                              {.workers = 3});
  EXPECT_EQ(outcome.report, "");
  EXPECT_EQ(outcome.statistics.warp_instructions, (std::map<std::string, u64>{{"shfl.sync", 60}, {"vote.sync", 20}}));
}

/// Conflicts of one access of `lanes` lanes, `stride` bytes apart.
u64 conflicts(int lanes, u32 bytes, u32 stride) {
  const Outcome outcome = run(1, 0, [&](Thread &thread) {
    std::array<u32, 32> addresses{};
    for (u32 lane = 0; lane < 32; ++lane) {
      addresses[lane] = SharedMemory::first_address + lane * stride;
    }
    thread.cta().shared().count_conflicts(load, addresses.data(), lanes, bytes);
  });
  const auto &[accesses, count] = outcome.statistics.bank_accesses.at("ld.shared at test.cuh:10 in kernel");
  EXPECT_EQ(accesses, 1U);
  return count;
}

TEST(Statistics, CountBankConflicts) {
  EXPECT_EQ(conflicts(32, 4, 4), 0U);    // a row of banks
  EXPECT_EQ(conflicts(32, 4, 0), 0U);    // one word for all
  EXPECT_EQ(conflicts(32, 2, 2), 0U);    // two lanes to a word
  EXPECT_EQ(conflicts(32, 4, 8), 1U);    // every second bank
  EXPECT_EQ(conflicts(32, 4, 128), 31U); // one bank
  EXPECT_EQ(conflicts(32, 8, 8), 0U);
  EXPECT_EQ(conflicts(32, 16, 16), 0U);
  EXPECT_EQ(conflicts(8, 16, 128), 7U);       // ldmatrix, rows unswizzled
  EXPECT_EQ(conflicts(32, 16, 128), 4U * 7U); // four matrices of them
  EXPECT_EQ(conflicts(32, 16, 128 + 16), 0U); // padded
}

TEST(Statistics, AddUp) {
  Statistics sum;
  Statistics one;
  one.warp_instructions["mma.sync"] = 2;
  one.bank_accesses["here"] = {3, 4};
  sum.add(one);
  sum.add(one);
  EXPECT_EQ(sum.warp_instructions["mma.sync"], 4U);
  EXPECT_EQ(sum.bank_accesses["here"], (std::pair<u64, u64>{6, 8}));
}

} // namespace
} // namespace sale::emulator
