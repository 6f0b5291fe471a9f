// SPDX-License-Identifier: Apache-2.0
#include "reference/metrics.hpp"

#include "reference/run.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace sale::reference {
namespace {

using testing::Case;
using testing::for_each_block;

const Case example{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 200, .kv_len = 500, .batch = 2};

TEST(Metrics, DensityCountsKeptOverVisibleBlocks) {
  const Policy policy = example.policy();
  Mask mask = testing::visible_mask(policy, example.shape(), 4);
  const Density full = density(mask, policy, example.shape());
  EXPECT_EQ(full.total, 1.0);
  EXPECT_EQ(full.estimated, 1.0);
  EXPECT_EQ(full.per_head, std::vector<double>(4, 1.0));

  int visible = 0;
  int reference = 0;
  for_each_block(policy, example.shape(), 4, [&](int b, int h, int m, int j, const Region &region) {
    visible += region.visible(j) ? 1 : 0;
    reference += region.in_reference(j) ? 1 : 0;
    if (h == 1 && region.estimated(j)) {
      mask.set(b, h, m, j, false);
    }
  });
  const Density one_head_sparse = density(mask, policy, example.shape());
  EXPECT_DOUBLE_EQ(one_head_sparse.per_head[1], static_cast<double>(reference) / visible);
  EXPECT_EQ(one_head_sparse.per_head[2], 1.0);
  EXPECT_DOUBLE_EQ(one_head_sparse.estimated, 0.75);
  EXPECT_DOUBLE_EQ(one_head_sparse.total, 0.75 + 0.25 * reference / visible);
}

TEST(Metrics, RelL1AndCosineAreThoseOfTheWholeTensors) {
  const std::vector<float> dense = {3.0F, -4.0F, 0.0F, 1.0F};
  EXPECT_EQ(rel_l1(dense, dense), 0.0);
  EXPECT_DOUBLE_EQ(cosine(dense, dense), 1.0);
  EXPECT_DOUBLE_EQ(rel_l1({2.0F, -4.0F, 1.0F, 1.0F}, dense), 0.25);
  EXPECT_DOUBLE_EQ(cosine({-6.0F, 8.0F, 0.0F, -2.0F}, dense), -1.0);
  EXPECT_TRUE(std::isnan(rel_l1({std::nanf(""), 0, 0, 0}, dense)));
}

TEST(Metrics, RecallIsTheDenseMassOfTheKeptKeys) {
  const Tensors t = example.tensors();
  const Policy policy = example.policy(Estimator::int8, 0.05F);
  const Result sparse = run_sale(example.problem(), policy, t);
  const Attention dense = run_dense(example.problem(), t);
  std::vector<double> expected;
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      for (int i = 0; i < 200; ++i) {
        const std::vector<double> p = testing::probabilities(t, example.scale(), nullptr, policy, b, h, i);
        double mass = 0;
        for (int j = 0; j < 500; ++j) {
          mass += sparse.mask.test(b, h, i / 64, j / 32) ? p[j] : 0.0;
        }
        expected.push_back(mass);
      }
    }
  }
  std::sort(expected.begin(), expected.end());
  const Recall actual = recall(sparse.lse, dense.lse);
  EXPECT_LT(actual.min, 0.99);
  EXPECT_NEAR(actual.min, expected.front(), 1e-5);
  EXPECT_NEAR(actual.p1, expected[15], 1e-5); // 1600 rows
  EXPECT_NEAR(actual.mean, std::accumulate(expected.begin(), expected.end(), 0.0) / 1600, 1e-5);
}

TEST(Metrics, RecallOfRowsThatSeeNothingOrAreNanIsZero) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(recall({-inf, 1.0F}, {1.0F, 1.0F}).min, 0.0);
  EXPECT_EQ(recall({std::nanf(""), 1.0F}, {1.0F, 1.0F}).mean, 0.5);
}

TEST(Metrics, P10NaNIsNoHitAndNothingWantedIsAFullOne) {
  const double nan = std::nan("");
  EXPECT_EQ(hit_share(nan, 1.0), 0.0);
  EXPECT_EQ(hit_share(1.0, nan), 0.0);
  EXPECT_EQ(hit_share(0.0, 0.0), 1.0);
  EXPECT_EQ(hit_share(0.25, 0.5), 0.5);
  EXPECT_EQ(hit_share(1.0 + 1e-12, 1.0), 1.0);
}

TEST(Metrics, P10HitMassIsTheShareOfTheExactMasksMassThatAnEstimatorFinds) {
  const Tensors t = example.tensors();
  const Policy policy = example.policy(Estimator::exact, 0.01F);
  const Mask exact = testing::mask_of(t, policy, example.scale());
  Mask other = exact;
  for_each_block(policy, example.shape(), 4, [&](int b, int h, int m, int j, const Region &region) {
    // Dropping half of the found blocks and keeping ones that exact does not: only the former count.
    other.set(b, h, m, j, region.in_reference(j) ? false : j % 2 == 0);
  });
  std::vector<double> wanted(4);
  std::vector<double> found(4);
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      for (int i = 0; i < 200; ++i) {
        const Region region = region_of(policy, example.shape(), i / 64);
        const std::vector<double> p = testing::probabilities(t, example.scale(), nullptr, policy, b, h, i);
        for (int j = 0; j < 500; ++j) {
          if (region.estimated(j / 32) && exact.test(b, h, i / 64, j / 32)) {
            wanted[h] += p[j];
            found[h] += j / 32 % 2 == 0 ? p[j] : 0.0;
          }
        }
      }
    }
  }
  const std::vector<double> actual = hit_mass(t, policy, example.scale(), other, exact);
  for (int h = 0; h < 4; ++h) {
    ASSERT_GT(wanted[h], 0.0);
    EXPECT_NEAR(actual[h], found[h] / wanted[h], 1e-9);
  }
  const Mask nothing(example.shape(), 4, 64, 32);
  EXPECT_EQ(hit_mass(t, policy, example.scale(), other, nothing), std::vector<double>(4, 1.0));
}

} // namespace
} // namespace sale::reference
