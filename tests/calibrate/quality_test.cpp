// SPDX-License-Identifier: Apache-2.0
#include "calibrate/quality.hpp"

#include "reference/attend.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace sale {
namespace {

TEST(MaskQuality, equals_what_the_oracle_says_of_each_mask) {
  Problem problem;
  problem.head_dim = 64;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  const reference::Tensors tensors = reference::structured(problem, {2, 700, 777});
  const float scale = effective_softmax_scale(problem);
  Policy policy;
  policy.estimator = Estimator::exact;
  policy.block_k = 64;
  std::vector<HeadBlocks> heads = exact_blocks(tensors, policy, scale);
  estimate_blocks(tensors, policy, scale, heads);
  const reference::Mask masks[] = {mask_at(tensors, policy, heads, {0, 0, 0, 0}),
                                   mask_at(tensors, policy, heads, {-2, 1, 0, 3})};
  EXPECT_EQ(masks[0], reference::run_sale(problem, policy, tensors).mask);
  const std::vector<MaskQuality> qualities = judge_masks(tensors, policy, scale, {masks[0], masks[1]});
  const reference::Attention dense = reference::run_dense(problem, tensors);
  for (int i = 0; i < 2; ++i) {
    const reference::Attention sparse = reference::attend(tensors, scale, &masks[i], policy.block_q, policy.block_k);
    EXPECT_NEAR(qualities[i].rel_l1(), reference::rel_l1(sparse.out, dense.out), 1e-6);
    EXPECT_GT(qualities[i].rel_l1(), 1e-4);
    const reference::Recall expected = reference::recall(sparse.lse, dense.lse);
    const reference::Recall actual = reference::recall_of_rows(qualities[i].recall);
    EXPECT_NEAR(actual.mean, expected.mean, 1e-5);
    EXPECT_NEAR(actual.p1, expected.p1, 1e-4);
    EXPECT_NEAR(actual.min, expected.min, 1e-4);
  }
}

TEST(MaskQuality, of_a_mask_that_keeps_everything_is_perfect) {
  Problem problem;
  problem.head_dim = 64;
  problem.num_q_heads = problem.num_kv_heads = 1;
  const reference::Tensors tensors = reference::structured(problem, {1, 500, 500});
  Policy policy;
  const float scale = effective_softmax_scale(problem);
  const std::vector<HeadBlocks> heads = exact_blocks(tensors, policy, scale);
  const double everything = std::numeric_limits<double>::infinity();
  const std::vector<MaskQuality> all =
      judge_masks(tensors, policy, scale, {mask_at(tensors, policy, heads, {everything})});
  EXPECT_EQ(all[0].rel_l1(), 0.0);
  EXPECT_EQ(reference::recall_of_rows(all[0].recall).min, 1.0);
}

} // namespace
} // namespace sale
