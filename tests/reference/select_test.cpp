// SPDX-License-Identifier: Apache-2.0
// Edges of the decision: NaN, zero scales, dense heads, and what int4's bias is for (P9, P14).
#include "reference/select.hpp"

#include "reference/means.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

using testing::all_estimators;
using testing::Case;
using testing::estimates_of;
using testing::for_each_block;
using testing::mask_of;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();
const Case one_head{.num_q_heads = 1, .q_len = 640, .kv_len = 640};

/// Number of estimated blocks of query block m that the mask keeps.
int kept_estimated(const Mask &mask, const Policy &policy, const Shape &shape, int m) {
  const Region region = region_of(policy, shape, m);
  int kept = 0;
  for (int j = region.first_estimated; j < region.end_estimated; ++j) {
    kept += mask.test(0, 0, m, j) ? 1 : 0;
  }
  return kept;
}

TEST(Select, ANanQueryRowKeepsEveryBlockOfItsQueryBlockOnly) {
  Tensors t = one_head.tensors();
  t.q[t.q_row(0, 0, 500) * 64 + 3] = nan_value;
  for (const Estimator estimator : {Estimator::exact, Estimator::int8}) {
    const Policy policy = one_head.policy(estimator, 1e9F);
    const Mask mask = mask_of(t, policy, one_head.scale());
    const Region region = region_of(policy, one_head.shape(), 500 / 64);
    EXPECT_EQ(kept_estimated(mask, policy, one_head.shape(), 500 / 64), region.end_estimated - region.first_estimated);
    EXPECT_EQ(kept_estimated(mask, policy, one_head.shape(), 500 / 64 + 1), 0);
  }
}

TEST(Select, ANanKeyKeepsItsBlockWhenTheEstimatorSeesIt) {
  const Tensors clean = one_head.tensors();
  Tensors t = clean;
  t.k[t.kv_row(0, 0, 100) * 64 + 3] = nan_value; // key block 3 of 32 keys, far from the window of the last rows
  const std::vector<float> kbar = mean_keys(clean);
  const std::vector<float> qbar = mean_queries(clean);
  for (const Estimator estimator : all_estimators) {
    const Policy policy = one_head.policy(estimator, 1e9F);
    const std::vector<float> threshold = thresholds(clean, policy, one_head.scale()).value;
    const Mask mask = select(t, policy, one_head.scale(), kbar, qbar, threshold);
    // int4: the NaN is in the pair's bias too, and a pair whose bias is NaN does not select.
    EXPECT_EQ(mask.test(0, 0, 9, 3), estimator != Estimator::int4) << to_string(estimator);
    EXPECT_FALSE(mask.test(0, 0, 9, 4)) << to_string(estimator);
  }
}

TEST(Select, ANanThresholdKeeps) {
  const Tensors t = one_head.tensors();
  for (const Estimator estimator : all_estimators) {
    const Policy policy = one_head.policy(estimator, 1e9F);
    std::vector<float> threshold = thresholds(t, policy, one_head.scale()).value;
    threshold[630] = nan_value;
    const Mask mask = select(t, policy, one_head.scale(), mean_keys(t), mean_queries(t), threshold);
    const Region region = region_of(policy, one_head.shape(), 9);
    EXPECT_EQ(kept_estimated(mask, policy, one_head.shape(), 9), region.end_estimated - region.first_estimated);
    EXPECT_EQ(kept_estimated(mask, policy, one_head.shape(), 8), 0);
  }
}

TEST(Select, AZeroQueryRowComparesItsZeroEstimateForInt8AndNeverSelectsForInt4) {
  const Tensors t = make_tensors(one_head.problem(), one_head.shape());
  const std::vector<float> zero(64);
  for (const float threshold : {-1.0F, 0.0F, 1.0F, nan_value}) {
    const std::vector<float> all(640, threshold);
    Policy policy = one_head.policy(Estimator::int8);
    const FrameThresholds int8 = frame_thresholds(t, policy, 1.0F, zero, all, quantize_queries(t, Estimator::int8, {}));
    if (std::isnan(threshold)) {
      EXPECT_TRUE(std::isnan(int8.theta[0]));
    } else {
      EXPECT_EQ(int8.theta[0], threshold < 0.0F ? -inf : inf);
    }
    const bool keeps = !(0.0F <= threshold);
    EXPECT_EQ(kept_estimated(select(t, policy, 1.0F, zero, zero, all), policy, one_head.shape(), 9) > 0, keeps);
    policy.estimator = Estimator::int4;
    const FrameThresholds int4 =
        frame_thresholds(t, policy, 1.0F, zero, all, quantize_queries(t, Estimator::int4, zero));
    EXPECT_EQ(int4.theta[0], inf);
    EXPECT_EQ(kept_estimated(select(t, policy, 1.0F, zero, zero, all), policy, one_head.shape(), 9), 0);
  }
}

TEST(Select, AnInt4GroupOfZeroKeysNeverSelectsEvenBelowAnyThreshold) {
  Tensors t = gaussian(one_head.problem(), one_head.shape());
  std::fill(t.k.begin(), t.k.end(), 0.0F);
  const std::vector<float> zero(64);
  const std::vector<float> low(640, -1.0F);
  Policy policy = one_head.policy(Estimator::int4);
  EXPECT_EQ(kept_estimated(select(t, policy, 1.0F, zero, zero, low), policy, one_head.shape(), 9), 0);
  // So small that the scale underflows to 0: the bias is then infinite, not NaN.
  std::fill(t.k.begin(), t.k.end(), 0x3p-149F);
  EXPECT_EQ(
      kept_estimated(select(t, policy, 1.0F, zero, std::vector<float>(64, 1000.0F), low), policy, one_head.shape(), 9),
      0);
  policy.estimator = Estimator::int8; // an estimate of 0 is above -1
  EXPECT_GT(kept_estimated(select(t, policy, 1.0F, zero, zero, low), policy, one_head.shape(), 9), 0);
}

TEST(Select, Int4KeepsOnlyROfASingleQueryBecauseItIsItsOwnMean) {
  const Case c{.q_len = 1, .kv_len = 640};
  const Policy policy = c.policy(Estimator::int4, 1e-6F);
  const Mask mask = mask_of(c.tensors(), policy, c.scale());
  EXPECT_EQ(kept_estimated(mask, policy, c.shape(), 0), 0);
  EXPECT_GT(mask.count(), 0U);
}

TEST(Select, RowsPastTheEndOfTheLastQueryBlockDoNotSelect) {
  // One row of the last block differs from a call that has only that row: there are no others that could select.
  const Case c{.num_q_heads = 1, .q_len = 65, .kv_len = 640};
  const Tensors t = c.tensors();
  const Tensors last = testing::chunk_of(t, 64, 1);
  for (const Estimator estimator : {Estimator::exact, Estimator::int8}) {
    const Policy policy = c.policy(estimator);
    const std::vector<float> kbar = mean_keys(t);
    const Mask whole = select(t, policy, c.scale(), kbar, {}, thresholds(t, policy, c.scale()).value);
    const Mask one = select(last, policy, c.scale(), kbar, {}, thresholds(last, policy, c.scale()).value);
    for (int j = 0; j < whole.k_blocks(); ++j) {
      EXPECT_EQ(whole.test(0, 0, 1, j), one.test(0, 0, 0, j)) << j;
    }
  }
}

TEST(Select, TauPerHeadDecidesEachHeadAlone) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 640, .kv_len = 640};
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    Policy policy = c.policy(estimator);
    policy.tau_per_head = {0.0F, 1e9F, 0.004F, 0.1F};
    const Mask mixed = mask_of(t, policy, c.scale());
    const Mask visible = testing::visible_mask(policy, c.shape(), 4);
    for_each_block(policy, c.shape(), 4, [&](int b, int h, int m, int j, const Region &region) {
      if (h == 0) {
        ASSERT_EQ(mixed.test(b, h, m, j), visible.test(b, h, m, j));
      } else if (h == 1) {
        ASSERT_EQ(mixed.test(b, h, m, j), region.in_reference(j));
      }
    });
    for (const int h : {2, 3}) {
      const Mask alone = mask_of(t, c.policy(estimator, policy.tau_per_head[h]), c.scale());
      for_each_block(policy, c.shape(), 1, [&](int b, int, int m, int j, const Region &) {
        ASSERT_EQ(mixed.test(b, h, m, j), alone.test(b, h, m, j));
      });
    }
  }
}

TEST(Select, AHeadWithTauZeroKeepsEveryVisibleBlockWhateverTheEstimates) {
  Tensors t = one_head.tensors();
  std::fill(t.q.begin(), t.q.end(), 0.0F); // int4 never selects for rows of zeros
  for (const Estimator estimator : all_estimators) {
    const Policy policy = one_head.policy(estimator, 0.0F);
    EXPECT_EQ(mask_of(t, policy, one_head.scale()), testing::visible_mask(policy, one_head.shape(), 1));
  }
}

TEST(Select, TheShiftOfAHeadIsInNats) {
  // A shift of ln 4 decides as a tau four times smaller.
  const Case c{.num_q_heads = 2, .q_len = 1000, .kv_len = 1000};
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    Policy shifted = c.policy(estimator, 0.02F);
    shifted.shift_per_head = {std::log(4.0F), -std::log(4.0F)};
    Policy taus = c.policy(estimator, 0.0F);
    taus.tau_per_head = {0.005F, 0.08F};
    const Mask a = mask_of(t, shifted, c.scale());
    const Mask plain = mask_of(t, c.policy(estimator, 0.02F), c.scale());
    EXPECT_NE(a, plain) << to_string(estimator);
    testing::expect_equal_but_for_ties(a, mask_of(t, taus, c.scale()),
                                       estimate_margins(t, taus, estimates_of(t, taus, c.scale())), 1e-4);
  }
}

TEST(Select, MarginsArePositiveExactlyWhereTheMaskKeeps) {
  const Case c{.num_q_heads = 2, .q_len = 500, .kv_len = 1000};
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    const Policy policy = c.policy(estimator);
    const Estimates estimates = estimates_of(t, policy, c.scale());
    const Mask mask = select(t, policy, estimates);
    const Margins margins = estimate_margins(t, policy, estimates);
    for_each_block(policy, c.shape(), 2, [&](int b, int h, int m, int j, const Region &) {
      const double margin = margins.at(b, h, m, j);
      if (std::fabs(margin) > 1e-4) {
        ASSERT_EQ(mask.test(b, h, m, j), margin > 0.0) << to_string(estimator) << " margin " << margin;
      }
    });
  }
}

TEST(Select, P9TheQueryMeanBiasOfInt4MattersAndTheKeyMeanDoesNot) {
  const Case c{.num_q_heads = 2, .q_len = 1000, .kv_len = 1000};
  Tensors t = gaussian(c.problem(), c.shape(), {.q_mean = 2.0F, .k_mean = 2.0F});
  const Policy policy = c.policy(Estimator::int4, 0.3F);
  const std::vector<float> threshold = thresholds(t, policy, c.scale()).value;
  const std::vector<float> kbar = mean_keys(t);
  const std::vector<float> qbar = mean_queries(t);
  Estimates estimates = prepare_estimates(t, policy, c.scale(), kbar, qbar, threshold);
  const Mask mask = select(t, policy, estimates);
  const Margins margins = estimate_margins(t, policy, estimates);
  ASSERT_LT(mask.count(), testing::visible_mask(policy, c.shape(), 2).count());

  // Smoothed keys in both the reference and the estimate: q . kbar drops out.
  Tensors smoothed = t;
  for (std::size_t i = 0; i < t.k.size(); ++i) {
    smoothed.k[i] = t.k[i] - kbar[i % 64];
  }
  const std::vector<float> zero(std::size_t{2} * 64);
  const Mask in_their_frame =
      select(smoothed, policy, c.scale(), zero, qbar, thresholds(smoothed, policy, c.scale()).value);
  testing::expect_equal_but_for_ties(mask, in_their_frame, margins, 1e-3);

  std::fill(estimates.keys.bias.begin(), estimates.keys.bias.end(), 0.0F);
  EXPECT_GT(mask.count() - (mask & select(t, policy, estimates)).count(), 100U)
      << "qbar . K' is not constant along a row";
}

TEST(Select, P14DegenerateInputsGiveNoNanAndNeverDropR) {
  const Case c{.num_q_heads = 3, .q_len = 300, .kv_len = 500};
  std::vector<Tensors> inputs(5, gaussian(c.problem(), c.shape()));
  std::fill(inputs[0].q.begin(), inputs[0].q.end(), 0.0F);
  std::fill(inputs[1].k.begin(), inputs[1].k.end(), 0.0F);
  for (std::size_t i = 0; i < inputs[2].k.size(); ++i) { // all keys equal
    inputs[2].k[i] = inputs[2].k[i % 64];
  }
  for (std::size_t i = 9; i < inputs[3].k.size(); i += 64) { // a huge channel
    inputs[3].k[i] = 30000.0F;
  }
  for (std::size_t i = 0; i < inputs[4].q.size(); i += std::size_t{64} * 7) { // some zero rows and keys, tiny others
    std::fill_n(inputs[4].q.begin() + i, 64, 0.0F);
    std::fill_n(inputs[4].k.begin() + i % inputs[4].k.size() / 64 * 64, 64, 0x1p-120F);
  }
  for (std::size_t n = 0; n < inputs.size(); ++n) {
    const Attention dense = attend(inputs[n], c.scale(), nullptr);
    for (const Estimator estimator : all_estimators) {
      SCOPED_TRACE(::testing::Message() << "input " << n << " " << to_string(estimator));
      const Policy policy = c.policy(estimator, 0.05F);
      const Result result = run_sale(c.problem(), policy, inputs[n]);
      EXPECT_TRUE(std::all_of(result.out.begin(), result.out.end(), [](float x) { return std::isfinite(x); }));
      EXPECT_TRUE(std::all_of(result.lse.begin(), result.lse.end(), [](float x) { return std::isfinite(x); }));
      for_each_block(policy, c.shape(), 3, [&](int b, int h, int m, int j, const Region &region) {
        if (region.in_reference(j)) {
          ASSERT_TRUE(result.mask.test(b, h, m, j));
        }
      });
    }
  }
}

} // namespace
} // namespace sale::reference
