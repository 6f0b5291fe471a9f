// SPDX-License-Identifier: Apache-2.0
// One query against 96 keys, small enough to work out by hand.
#include "reference/attend.hpp"
#include "reference/metrics.hpp"
#include "reference/select.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace sale::reference {
namespace {

using testing::all_estimators;

// q = (1, 0, ...) at position 95 and s = 1. With no sink and no window, R is key block 2 (keys 64..95), whose scores
// are all 0: m = 0, l = 32, and tau = 1/4 gives T = ln 8 = 2.0794. Key 5 scores 2, so block 0 is dropped; key 40
// scores 2.5, so block 1 is kept.
constexpr std::size_t dim = 8;

class ByHand : public ::testing::Test {
protected:
  ByHand() {
    tensors.shape = {1, 1, 96};
    tensors.head_dim = dim;
    tensors.q = {1, 0, 0, 0, 0, 0, 0, 0};
    tensors.k.resize(96 * dim);
    tensors.v.resize(96 * dim);
    tensors.k[5 * dim] = 2.0F;
    tensors.k[40 * dim] = 2.5F;
    tensors.v[40 * dim + 3] = 1.0F;
    policy.sink = 0;
    policy.window = 0;
    policy.tau = 0.25F;
  }
  Mask mask(float tau) {
    policy.tau = tau;
    return select(tensors, policy, 1.0F, zero, zero, thresholds(tensors, policy, 1.0F).value);
  }

  Tensors tensors;
  Policy policy;
  std::vector<float> zero = std::vector<float>(dim);
};

TEST_F(ByHand, TheThresholdIsLnEight) {
  const Thresholds t = thresholds(tensors, policy, 1.0F);
  EXPECT_EQ(t.m[0], 0.0);
  EXPECT_EQ(t.l[0], 32.0);
  EXPECT_FLOAT_EQ(t.value[0], 2.0794415F);
}

TEST_F(ByHand, ScoresFarBeyondTheRangeOfExpAreTakenRelativeToTheLargest) {
  tensors.k[70 * dim] = 2000.0F;
  const Thresholds t = thresholds(tensors, policy, 1.0F);
  EXPECT_EQ(t.m[0], 2000.0);
  EXPECT_EQ(t.l[0], 1.0);
  EXPECT_FLOAT_EQ(t.value[0], 2000.0F - 1.3862944F);
}

TEST_F(ByHand, EveryEstimatorDropsBlockZeroAndKeepsBlockOne) {
  for (const Estimator estimator : all_estimators) {
    policy.estimator = estimator;
    const Mask m = mask(0.25F);
    EXPECT_FALSE(m.test(0, 0, 0, 0)) << to_string(estimator);
    EXPECT_TRUE(m.test(0, 0, 0, 1)) << to_string(estimator);
    EXPECT_TRUE(m.test(0, 0, 0, 2)) << to_string(estimator);
  }
}

TEST_F(ByHand, CodesScalesAndThetaAreWhatTheFormulasSay) {
  policy.estimator = Estimator::int8;
  const std::vector<float> t = thresholds(tensors, policy, 1.0F).value;
  const Estimates int8 = prepare_estimates(tensors, policy, 1.0F, zero, zero, t);
  EXPECT_EQ(int8.keys.codes[40 * dim], 127);
  EXPECT_EQ(int8.keys.scales[0], 2.0F / 127.0F);
  EXPECT_EQ(int8.keys.scales[1], 2.5F / 127.0F);
  EXPECT_EQ(int8.keys.scales[2], 0.0F);
  EXPECT_EQ(int8.queries.scales[0], 1.0F / 127.0F);
  EXPECT_EQ(int8.rows.theta[0], t[0] / (1.0F / 127.0F));
  policy.estimator = Estimator::int4;
  const Estimates int4 = prepare_estimates(tensors, policy, 1.0F, zero, zero, t);
  EXPECT_EQ(int4.keys.codes[40 * dim], 7);
  EXPECT_EQ(int4.keys.scales[0 * 4 + 2], 2.0F / 7.0F); // key 5 is in group (5 mod 8) / 2
  EXPECT_EQ(int4.keys.scales[1 * 4 + 0], 2.5F / 7.0F);
  EXPECT_EQ(int4.queries.scales[0], 1.0F / 7.0F);
}

TEST_F(ByHand, TheCompareIsStrict) {
  // tau = 1/32 makes T = 0 and a tiny key 5 the only one in blocks 0 and 1 that does not score exactly 0.
  tensors.k[40 * dim] = 0.0F;
  for (const Estimator estimator : {Estimator::exact, Estimator::int8}) {
    policy.estimator = estimator;
    EXPECT_FALSE(mask(0x1p-5F).test(0, 0, 0, 1)) << to_string(estimator);
    EXPECT_TRUE(mask(0x1p-5F).test(0, 0, 0, 0)) << to_string(estimator);
  }
}

TEST_F(ByHand, OutputAndLogSumExpAreTheSoftmaxOverBlocksOneAndTwo) {
  const Mask kept = mask(0.25F);
  const Attention attention = attend(tensors, 1.0F, &kept, 64, 32);
  EXPECT_NEAR(attention.out[3], std::exp(2.5) / (63 + std::exp(2.5)), 1e-7);
  EXPECT_EQ(attention.out[2], 0.0F);
  EXPECT_NEAR(attention.lse[0], std::log(63 + std::exp(2.5)), 1e-6);
}

TEST_F(ByHand, FiguresFollowFromTheMask) {
  const Mask kept = mask(0.25F);
  const Density figures = density(kept, policy, tensors.shape);
  EXPECT_DOUBLE_EQ(figures.total, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.estimated, 0.5);
  const Recall mass = recall(attend(tensors, 1.0F, &kept, 64, 32).lse, attend(tensors, 1.0F, nullptr).lse);
  EXPECT_NEAR(mass.min, (63 + std::exp(2.5)) / (94 + std::exp(2.5) + std::exp(2.0)), 1e-6);
  EXPECT_EQ(mass.mean, mass.min);
}

TEST_F(ByHand, MarginsAreTheLargestScoreMinusTheThreshold) {
  const std::vector<float> t = thresholds(tensors, policy, 1.0F).value;
  for (const Estimator estimator : all_estimators) {
    policy.estimator = estimator;
    const Margins margins = estimate_margins(tensors, policy, prepare_estimates(tensors, policy, 1.0F, zero, zero, t));
    const double rounding = estimator == Estimator::fp8 ? 0x1p-9 : 1e-6; // of theta, down to a step of f16 from 2 on
    EXPECT_NEAR(margins.at(0, 0, 0, 0), 2.0 - std::log(8.0), rounding) << to_string(estimator);
    EXPECT_NEAR(margins.at(0, 0, 0, 1), 2.5 - std::log(8.0), rounding) << to_string(estimator);
    EXPECT_EQ(margins.at(0, 0, 0, 2), HUGE_VAL) << to_string(estimator);
  }
}

TEST_F(ByHand, AShiftOfHalfANatDecidesAsAThresholdLowerByHalf) {
  for (const Estimator estimator : all_estimators) {
    policy.estimator = estimator;
    policy.shift_per_head = {0.5F};
    EXPECT_TRUE(mask(0.25F).test(0, 0, 0, 0)) << to_string(estimator);
    policy.shift_per_head = {-0.5F};
    EXPECT_FALSE(mask(0.25F).test(0, 0, 0, 1)) << to_string(estimator);
    policy.shift_per_head.clear();
  }
}

} // namespace
} // namespace sale::reference
