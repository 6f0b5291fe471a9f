// SPDX-License-Identifier: Apache-2.0
// The rules of wgmma select that single thresholds, scales and heads show.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/select_wgmma_problem.hpp"

#include <array>
#include <cmath>
#include <limits>

namespace sale::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

using SelectWgmmaRules = KernelTest;

TEST_F(SelectWgmmaRules, AHeadOfTauZeroKeepsAllThatItSees) {
  SelectWgmmaProblem problem({.q_len = 200, .kv_len = 600, .gqa = 3});
  problem.theta.assign(problem.theta.size(), infinity);
  problem.theta[problem.row_of(1, 70)] = -infinity; // of a head that estimates, between two that do not
  problem.tau = {0, 0.004F, 0, 0, 0, 0};
  EXPECT_EQ(run(problem), problem.expected_mask());
}

TEST_F(SelectWgmmaRules, AHeadOfTauZeroKeepsNothingThatItDoesNotSee) {
  for (const SelectWgmmaCase &c : {SelectWgmmaCase{.q_len = 200, .kv_len = 600, .gqa = 2, .sliding_window = 300},
                                   SelectWgmmaCase{.q_len = 200, .kv_len = 150, .gqa = 2, .causal = false}}) {
    SelectWgmmaProblem problem(c);
    problem.tau = {0, 0.004F, 0, 0};
    EXPECT_EQ(run(problem), problem.expected_mask());
  }
}

TEST_F(SelectWgmmaRules, ANanThresholdKeepsWhatItsRowSees) {
  SelectWgmmaProblem problem({.q_len = 70, .kv_len = 500});
  problem.theta[problem.row_of(3, 66)] = std::nanf("");
  EXPECT_EQ(run(problem), problem.expected_mask());
}

TEST_F(SelectWgmmaRules, ANanScaleKeepsItsKeysForEveryHeadOfTheGroup) {
  SelectWgmmaProblem problem({.q_len = 70, .kv_len = 500});
  problem.theta.assign(problem.theta.size(), infinity);
  problem.nan_scale = static_cast<std::size_t>(problem.scales_per_head() + 5);
  EXPECT_EQ(run(problem), problem.expected_mask());
}

// Two warpgroups share blocks of 128 rows. The last block has rows of the first one only: the second one is at another
// block before the first has written the mask there.
TEST_F(SelectWgmmaRules, AWarpgroupThatIsAheadWaitsForTheMaskThatItAddsTo) {
  SelectWgmmaProblem problem({.q_len = 310,
                              .kv_len = 438,
                              .gqa = 1,
                              .block_q = 128,
                              .kv_heads = 8,
                              .consumers = 2,
                              .stages = 6,
                              .window = 0,
                              .drawn = false});
  problem.theta.assign(problem.theta.size(), infinity);
  for (int head = 0; head < problem.q_heads(); ++head) {
    problem.theta[problem.row_of(head, 100)] = -infinity;
    problem.theta[problem.row_of(head, 228)] = -infinity;
  }
  for (const unsigned long long seed : schedules) {
    Device::get().set_schedule(seed);
    EXPECT_EQ(run(problem), problem.expected_mask()) << "schedule " << seed;
  }
}

TEST_F(SelectWgmmaRules, ThresholdsAreRoundedDown) {
  SelectWgmmaProblem problem({.q_len = 64, .kv_len = 500, .gqa = 1});
  const std::array<float, 12> thresholds = {-infinity, -70000, -65504,   -65503,  -100.03F, -0x1p-30F,
                                            -0.0F,     0,      0x1p-30F, 100.03F, 65519,    1e20F};
  for (std::size_t i = 0; i < thresholds.size(); ++i) {
    problem.theta.assign(problem.theta.size(), infinity);
    problem.theta[problem.row_of(0, 20)] = thresholds[i];
    EXPECT_EQ(run(problem), problem.expected_mask()) << thresholds[i];
  }
}

} // namespace
} // namespace sale::test
