// SPDX-License-Identifier: Apache-2.0
// Edges of fp8 estimates: rounding of thresholds, NaN, outliers, ties, and what other bases reduce to.
#include "reference/channels.hpp"
#include "reference/element.hpp"
#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/select.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace sale::reference {
namespace {

using testing::Case;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

TEST(Fp8Theta, IsRoundedDownToF16) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> exponents(-30.0F, 18.0F);
  for (int n = 0; n < 20000; ++n) {
    const float value = std::exp2(exponents(random)) * (random() % 2 == 0 ? 1.0F : -1.0F);
    const std::uint16_t bits = float_to_f16_down(value);
    const float down = f16_to_float(bits);
    ASSERT_LE(down, value);
    if (down < 65504.0F) { // the next above
      const auto above = static_cast<std::uint16_t>(down < 0.0F ? bits - 1 : bits + 1);
      ASSERT_GT(f16_to_float(above), value) << value;
    }
  }
  for (const float exact : {0.0F, 1.0F, -1.0F, 65504.0F, -65504.0F, 0x1p-24F, -0x1p-24F, inf, -inf}) {
    EXPECT_EQ(f16_to_float(float_to_f16_down(exact)), exact);
  }
  EXPECT_EQ(f16_to_float(float_to_f16_down(65519.0F)), 65504.0F);
  EXPECT_EQ(f16_to_float(float_to_f16_down(1e30F)), 65504.0F);
  EXPECT_EQ(f16_to_float(float_to_f16_down(-65505.0F)), -inf);
  EXPECT_EQ(f16_to_float(float_to_f16_down(-1e-9F)), -0x1p-24F);
  EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16_down(nan_value))));
}

/// One head; every block but R's is dropped unless something makes it kept.
struct Alone {
  Case c{.num_q_heads = 1, .q_len = 640, .kv_len = 640};
  Policy policy = c.policy(Estimator::fp8, 1e9F);
  Tensors t = c.tensors();
  std::vector<float> kbar = mean_keys(t);
  std::vector<float> threshold = thresholds(t, policy, c.scale()).value;

  Mask mask() const { return select(t, policy, c.scale(), kbar, {}, threshold); }
  int kept_estimated(int m) const {
    const Region region = region_of(policy, t.shape, m);
    const Mask all = mask();
    int kept = 0;
    for (int j = region.first_estimated; j < region.end_estimated; ++j) {
      kept += all.test(0, 0, m, j) ? 1 : 0;
    }
    return kept;
  }
  int estimated(int m) const {
    const Region region = region_of(policy, t.shape, m);
    return region.end_estimated - region.first_estimated;
  }
};

TEST(Fp8Select, NanAndInfinityOfAKeyKeepItsGroupOnly) {
  for (const float bad : {nan_value, inf, -inf, 1e30F, 0x1p22F}) {
    Alone alone;
    alone.t.k[alone.t.kv_row(0, 0, 100) * 64 + 3] = bad;
    EXPECT_TRUE(alone.mask().test(0, 0, 9, 3)) << bad;
    EXPECT_EQ(alone.kept_estimated(9), 1) << bad;
  }
}

TEST(Fp8Select, NanAndInfinityOfAQueryKeepEveryBlockOfItsQueryBlock) {
  for (const float bad : {nan_value, inf, -inf, 1e30F}) {
    Alone alone;
    alone.t.q[alone.t.q_row(0, 0, 600) * 64 + 5] = bad;
    EXPECT_EQ(alone.kept_estimated(9), alone.estimated(9)) << bad;
    EXPECT_EQ(alone.kept_estimated(8), 0) << bad;
  }
}

TEST(Fp8Select, EqualityKeeps) {
  // Zero queries estimate 0 for every key.
  Alone alone;
  std::fill(alone.t.q.begin(), alone.t.q.end(), 0.0F);
  for (const auto &[threshold, keeps] : {std::pair{-1.0F, true}, {0.0F, true}, {0x1p-20F, false}, {1.0F, false}}) {
    alone.threshold.assign(640, threshold);
    EXPECT_EQ(alone.kept_estimated(9), keeps ? alone.estimated(9) : 0) << threshold;
  }
  // Thresholds below the least f16 round to 0: that only over-selects.
  alone.threshold.assign(640, 0x1p-30F);
  EXPECT_EQ(alone.kept_estimated(9), alone.estimated(9));
}

TEST(Fp8Select, OneHugeKeyDoesNotHideTheOthersOfItsGroup) {
  // It sets its group's scale, 2^9 times less than the others need: they keep three bits down to 2^-14 of it.
  Alone alone;
  alone.policy.tau = 0.05F;
  alone.threshold = thresholds(alone.t, alone.policy, alone.c.scale()).value;
  const int needle = needle_key(alone.c.shape());
  const int neighbour = needle % 32 == 0 ? needle + 1 : needle - 1;
  float *keys = alone.t.k.data();
  for (int d = 0; d < 64; ++d) { // away from the queries
    keys[neighbour * 64 + d] = -1000.0F * alone.t.query(0, 0, 639)[d];
  }
  EXPECT_TRUE(alone.mask().test(0, 0, 9, needle / 32));
  std::copy_n(keys + 64 * (needle - 2), 64, keys + 64 * needle);
  EXPECT_FALSE(alone.mask().test(0, 0, 9, needle / 32)) << "it is the needle that keeps the block";
}

TEST(Fp8Select, ThePlantedNeedleIsKeptByHalfOfTheChannels) {
  const Case c{.head_dim = 128, .num_q_heads = 4, .num_kv_heads = 2, .q_len = 1000, .kv_len = 1000};
  const Tensors t = c.tensors();
  for (const bool pruned : {false, true}) {
    Policy policy = c.policy(Estimator::fp8, 0.02F);
    policy.estimate_dim = 64;
    policy.prune_queries = pruned;
    policy.shift_per_head.assign(4, 1.0F);
    const Mask mask = testing::mask_of(t, policy, c.scale());
    for (int h = 0; h < 4; ++h) {
      EXPECT_TRUE(mask.test(0, h, 999 / 64, needle_key(c.shape()) / 32)) << "head " << h << " pruned " << pruned;
    }
    EXPECT_LT(mask.count(), testing::visible_mask(policy, c.shape(), 4).count() * 3 / 4);
  }
}

TEST(Fp8Channels, TiesGoToTheLowerIndexAndNanIsTheLargest) {
  const Case c{.head_dim = 64, .num_q_heads = 2, .q_len = 40, .kv_len = 40};
  Tensors t = make_tensors(c.problem(), c.shape());
  std::fill(t.q.begin(), t.q.end(), 1.0F);
  std::fill(t.k.begin(), t.k.end(), 1.0F);
  Policy policy = c.policy(Estimator::fp8);
  policy.estimate_dim = 32;
  const std::vector<float> kbar(64);
  std::vector<int> expected(32);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
  t.k[8 * 64 + 50] = 2.0F; // more energy
  t.k[9 * 64 + 51] = 2.0F; // not sampled
  expected.back() = 50;
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
  t.q[16 * 64 + 63] = nan_value;
  expected[30] = 50;
  expected[31] = 63;
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
}

TEST(Fp8Channels, AreOfTheBatchElementAndTheGroupOfQueryHeads) {
  const Case c{.head_dim = 64, .num_q_heads = 4, .num_kv_heads = 2, .q_len = 33, .kv_len = 50, .batch = 2};
  Tensors t = gaussian(c.problem(), c.shape());
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      t.q[t.q_row(b, h, 32) * 64 + b * 10 + h] = 1000.0F; // row 32 is sampled
    }
  }
  Policy policy = c.policy(Estimator::fp8);
  policy.estimate_dim = 32;
  const Channels channels = choose_channels(t, policy, mean_keys(t));
  ASSERT_EQ(channels.index.size(), 2U * 2 * 32);
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      const auto first = channels.index.begin() + (b * 2 + h / 2) * 32;
      EXPECT_TRUE(std::binary_search(first, first + 32, b * 10 + h));
    }
  }
}

TEST(Fp8Prune, KeepsTheTwoLargestOfFourByWeightTiesToTheFirst) {
  const Case c{.head_dim = 64, .num_q_heads = 1, .q_len = 1, .kv_len = 1};
  Tensors t = make_tensors(c.problem(), c.shape());
  Policy policy = c.policy(Estimator::fp8);
  policy.prune_queries = true;
  Channels channels;
  channels.index.resize(64);
  std::iota(channels.index.begin(), channels.index.end(), 0);
  channels.weights.assign(64, 1.0F);
  const auto kept = [&](std::vector<float> four, std::vector<float> weights) {
    std::copy(four.begin(), four.end(), t.q.begin() + 4);
    std::copy(weights.begin(), weights.end(), channels.weights.begin() + 4);
    const QuantizedQueries queries = quantize_queries_fp8(t, policy, channels);
    std::vector<int> indices;
    for (int n = 0; n < 4; ++n) {
      if (queries.codes[4 + n] != 0) {
        indices.push_back(n);
      }
    }
    return indices;
  };
  EXPECT_EQ(kept({1, -4, 3, 2}, {1, 1, 1, 1}), (std::vector{1, 2}));
  EXPECT_EQ(kept({1, -4, 3, 2}, {9, 1, 1, 1}), (std::vector{0, 1}));
  EXPECT_EQ(kept({2, 2, -2, 2}, {1, 1, 1, 1}), (std::vector{0, 1}));
  EXPECT_EQ(kept({2, 1, -2, 2}, {1, 1, 1, 1}), (std::vector{0, 2}));
  EXPECT_EQ(kept({1, 2, 3, nan_value}, {1, 1, 1, 1}), (std::vector{3})) << "what is finite vanishes beside it";
  EXPECT_EQ(kept({1, 2, 0, 0}, {0, 0, 1, 1}), (std::vector{0, 1})) << "ties at 0";
}

TEST(Fp8Projection, TheIdentityIsNoProjectionAndARestrictionIsChannels) {
  const Case c{.head_dim = 64, .num_q_heads = 6, .num_kv_heads = 2, .q_len = 200, .kv_len = 500};
  const Tensors t = c.tensors();
  Policy by_channels = c.policy(Estimator::fp8);
  by_channels.estimate_dim = 32;
  const std::vector<float> kbar = mean_keys(t);
  by_channels.channels = choose_channels(t, by_channels, kbar).index;
  Policy by_projection = by_channels;
  by_projection.channels.clear();
  by_projection.projection.resize(std::size_t{2} * 2 * 32 * 64);
  Policy identity = c.policy(Estimator::fp8);
  identity.projection.resize(std::size_t{2} * 2 * 64 * 64);
  for (int g = 0; g < 2; ++g) {
    for (int which = 0; which < 2; ++which) {
      for (int n = 0; n < 64; ++n) {
        identity.projection[((g * 2 + which) * 64 + n) * 64 + n] = 1.0F;
        if (n < 32) {
          by_projection.projection[((g * 2 + which) * 32 + n) * 64 + by_channels.channels[g * 32 + n]] = 1.0F;
        }
      }
    }
  }
  EXPECT_EQ(testing::mask_of(t, by_projection, c.scale()), testing::mask_of(t, by_channels, c.scale()));
  EXPECT_EQ(testing::mask_of(t, identity, c.scale()), testing::mask_of(t, c.policy(Estimator::fp8), c.scale()));
  EXPECT_NE(testing::mask_of(t, by_channels, c.scale()), testing::mask_of(t, c.policy(Estimator::fp8), c.scale()));
}

} // namespace
} // namespace sale::reference
