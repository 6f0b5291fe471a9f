// SPDX-License-Identifier: Apache-2.0
#include "reference/second_filter.hpp"

#include "reference/attend.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

using testing::Case;

class SecondFilter : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, SecondFilter, ::testing::ValuesIn(testing::long_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });

TEST_P(SecondFilter, LeavesOutWhatNoScoreOf64RowsJustifies) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::int8, 0.1F);
  const std::vector<float> threshold = thresholds(t, policy, c.scale()).value;
  const Mask mask = testing::mask_of(t, policy, c.scale());
  const Mask left = second_filter(t, policy, &mask, threshold);
  std::size_t before = 0;
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int n = 0; n < ceil_div(c.q_len, 64); ++n) {
        const int m = n * 64 / c.block_q;
        const Region region = region_of(policy, c.shape(), m);
        for (int u = 0; u < ceil_div(c.kv_len, 32); ++u) {
          const int j = u * 32 / c.block_k;
          bool kept = mask.test(b, h, m, j);
          before += kept ? 1 : 0;
          if (kept && !region.in_reference(j)) {
            kept = false;
            for (int i = n * 64; i < std::min(n * 64 + 64, c.q_len); ++i) {
              for (int key = u * 32; key < u * 32 + 32; ++key) {
                kept = kept || testing::score(t, b, h, i, key) > threshold[t.q_row(b, h, i)];
              }
            }
          }
          ASSERT_EQ(left.test(b, h, n, u), kept) << "rows from " << n * 64 << " keys from " << u * 32;
        }
      }
    }
  }
  EXPECT_LE(left.count(), before);
}

TEST(SecondFilterOf, AnyMaskItLeavesExactlyTheFineExactMask) {
  // Exact decisions of 64 x 32 blocks do not depend on the coarse mask that proposed them.
  const Case fine{
      .num_q_heads = 2, .block_q = 64, .block_k = 32, .q_len = 640, .kv_len = 1024, .sink = 128, .window = 128};
  Case coarse = fine;
  coarse.block_k = 128;
  const Tensors t = fine.tensors();
  const Policy policy = coarse.policy(Estimator::exact, 0.05F);
  const std::vector<float> threshold = thresholds(t, policy, fine.scale()).value;
  const Mask expected = second_filter(t, policy, nullptr, threshold);
  const Mask mask = testing::mask_of(t, policy, fine.scale());
  EXPECT_EQ(second_filter(t, policy, &mask, threshold), expected);
  EXPECT_LT(expected.count(), mask.count() * 4) << "it leaves something out";
}

TEST(SecondFilterOf, HeadsWithTauZeroAndNanThresholdsIsNothing) {
  const Case c{.num_q_heads = 2, .q_len = 640, .kv_len = 640};
  const Tensors t = c.tensors();
  Policy policy = c.policy(Estimator::exact, 1e9F);
  policy.tau_per_head = {0.0F, 1e9F};
  std::vector<float> threshold = thresholds(t, policy, c.scale()).value;
  threshold[t.q_row(0, 1, 600)] = std::numeric_limits<float>::quiet_NaN();
  const Mask left = second_filter(t, policy, nullptr, threshold);
  testing::for_each_block(policy, c.shape(), 2, [&](int b, int h, int m, int j, const Region &region) {
    ASSERT_EQ(left.test(b, h, m, j), region.visible(j) && (h == 0 || m == 9 || region.in_reference(j)));
  });
}

TEST(SecondFilterOf, RunSaleChangesTheOutputButNotTheMask) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .block_k = 128, .q_len = 700, .kv_len = 1025};
  const Tensors t = c.tensors();
  Policy policy = c.policy(Estimator::int8, 0.05F);
  const Result plain = run_sale(c.problem(), policy, t);
  policy.second_filter = true;
  const Result filtered = run_sale(c.problem(), policy, t);
  EXPECT_EQ(filtered.mask, plain.mask);
  const Mask left = second_filter(t, policy, &plain.mask, thresholds(t, policy, c.scale()).value);
  const Attention expected = attend(t, c.scale(), &left, 64, 32);
  EXPECT_EQ(filtered.out, expected.out);
  EXPECT_EQ(filtered.lse, expected.lse);
  EXPECT_NE(filtered.out, plain.out);
  for (std::size_t row = 0; row < filtered.lse.size(); ++row) {
    ASSERT_LE(filtered.lse[row], plain.lse[row] + 1e-6F);
  }
}

TEST(DenseBelow, ShortCallsKeepEveryVisibleBlock) {
  const Case c{.num_q_heads = 2, .q_len = 333, .kv_len = 640};
  const Tensors t = c.tensors();
  Policy policy = c.policy(Estimator::fp8, 1e9F);
  policy.second_filter = true;
  policy.dense_below = 641;
  const Result dense = run_sale(c.problem(), policy, t);
  EXPECT_EQ(dense.mask, testing::visible_mask(policy, c.shape(), 2));
  EXPECT_LE(testing::max_difference(dense.out, run_dense(c.problem(), t).out), 1e-6);
  policy.dense_below = 640;
  EXPECT_NE(run_sale(c.problem(), policy, t).mask, dense.mask);
}

} // namespace
} // namespace sale::reference
