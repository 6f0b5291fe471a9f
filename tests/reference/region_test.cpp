// SPDX-License-Identifier: Apache-2.0
#include "reference/region.hpp"

#include "reference/tensors.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace sale::reference {
namespace {

bool intersects(int a_begin, int a_end, int b_begin, int b_end) {
  return std::max(a_begin, b_begin) < std::min(a_end, b_end);
}

TEST(Region, IsTheVisibleBlocksThatMeetTheSinkOrTheWindowAndTheRestIsEstimated) {
  for (const int block_q : {64, 128}) {
    for (const int block_k : {32, 64, 128}) {
      for (const int sink : {0, 1, 32, 33, 200, 5000}) {
        for (const int window : {0, 1, 31, 128, 4000}) {
          for (const Shape shape : {Shape{1, 1, 1}, Shape{1, 31, 31}, Shape{1, 1025, 1025}, Shape{1, 300, 1025},
                                    Shape{1, 1, 700}, Shape{1, 65, 97}}) {
            Policy policy;
            policy.block_q = block_q;
            policy.block_k = block_k;
            policy.sink = sink;
            policy.window = window;
            for (int m = 0; m < ceil_div(shape.q_len, block_q); ++m) {
              const Region region = region_of(policy, shape, m);
              const int p0 = shape.kv_len - shape.q_len + m * block_q;
              const int rows = std::min(block_q, shape.q_len - m * block_q);
              for (int j = 0; j < ceil_div(shape.kv_len, block_k); ++j) {
                const int begin = j * block_k;
                const bool visible = begin <= p0 + rows - 1; // the last row sees its first key
                const bool reference = intersects(begin, begin + block_k, 0, sink) ||
                                       intersects(begin, begin + block_k, std::max(0, p0 - window), p0 + block_q);
                ASSERT_EQ(region.visible(j), visible) << "m " << m << " j " << j;
                ASSERT_EQ(region.in_reference(j), visible && reference) << "m " << m << " j " << j;
                ASSERT_EQ(region.estimated(j), visible && !reference) << "m " << m << " j " << j;
                if (region.estimated(j)) {
                  ASSERT_LE(begin + block_k - 1, p0) << "an estimated block must be visible to every row";
                }
              }
            }
          }
        }
      }
    }
  }
}

/// By the definition: a block is visible when some row sees one of its keys, whole when every row sees all of them; it
/// is in R when it is visible and meets the sink or the window, or is not whole at the left edge or the end.
void expect_definition(const Policy &policy, const Tensors &t, int m) {
  const Region region = region_of(policy, t, m);
  const int p0 = t.position(m * policy.block_q);
  const int last = policy.block_q - 1; // of a full block, whose rows past q_len count as any other
  const int near_end = p0 + policy.block_q + (t.causal ? 0 : policy.window);
  int estimated = 0;
  int visible = 0;
  for (int j = 0; j < ceil_div(t.shape.kv_len, policy.block_k); ++j) {
    const int begin = j * policy.block_k;
    const int end = begin + policy.block_k;
    bool seen = false;
    bool whole = true;
    for (int i = 0; i <= last; ++i) {
      const int row = m * policy.block_q + i;
      seen = seen || intersects(begin, end, t.first_key(row), t.end_key(row));
      whole = whole && begin >= t.first_key(row) && end <= t.end_key(row);
    }
    const bool reference = intersects(begin, end, 0, policy.sink) ||
                           intersects(begin, end, std::max(0, p0 - policy.window), near_end) || !whole;
    ASSERT_EQ(region.visible(j), seen) << "m " << m << " j " << j;
    ASSERT_EQ(region.in_reference(j), seen && reference) << "m " << m << " j " << j;
    ASSERT_EQ(region.estimated(j), seen && !reference) << "m " << m << " j " << j;
    visible += seen ? 1 : 0;
    estimated += seen && !reference ? 1 : 0;
  }
  EXPECT_EQ(region.visible_count(), visible);
  EXPECT_EQ(region.estimated_count(), estimated);
}

void expect_definition_everywhere(const Problem &problem) {
  for (const int block_q : {64, 128}) {
    for (const int block_k : {32, 64, 128}) {
      for (const int sink : {0, 1, 32, 200, 5000}) {
        for (const int window : {0, 31, 128, 4000}) {
          for (const Shape shape : {Shape{1, 1, 1}, Shape{1, 1025, 1025}, Shape{1, 300, 1024}, Shape{1, 1, 700}}) {
            Policy policy;
            policy.block_q = block_q;
            policy.block_k = block_k;
            policy.sink = sink;
            policy.window = window;
            const Tensors tensors = describe_tensors(problem, shape);
            for (int m = 0; m < ceil_div(shape.q_len, block_q); ++m) {
              expect_definition(policy, tensors, m);
            }
          }
        }
      }
    }
  }
}

TEST(Region, OfASlidingWindowTakesTheBlocksOfItsLeftEdge) {
  for (const int sliding_window : {1, 31, 32, 64, 100, 127, 500, 4096}) {
    SCOPED_TRACE(sliding_window);
    Problem problem;
    problem.sliding_window = sliding_window;
    expect_definition_everywhere(problem);
  }
}

TEST(Region, OfTwoSidedAttentionHasTheWindowOnBothSidesAndThePartialLastBlock) {
  Problem problem;
  problem.causal = false;
  expect_definition_everywhere(problem);
}

TEST(Region, OfEveryKindOfArgumentsIsTheSame) {
  Problem problem;
  problem.sliding_window = 200;
  const Shape shape{1, 300, 1000};
  const Region a = region_of(Policy(), problem, shape, 3);
  const Region b = region_of(Policy(), describe_tensors(problem, shape), 3);
  EXPECT_EQ(a.first_visible, b.first_visible);
  EXPECT_GT(a.first_visible, 0);
  EXPECT_EQ(region_of(Policy(), shape, 3).first_visible, 0);
}

TEST(Tensors, SayWhichKeysARowSees) {
  const Shape shape{1, 10, 100};
  Problem problem;
  Tensors t = describe_tensors(problem, shape);
  EXPECT_EQ(t.first_key(3), 0);
  EXPECT_EQ(t.end_key(3), 94);
  problem.sliding_window = 5;
  t = describe_tensors(problem, shape);
  EXPECT_EQ(t.first_key(3), 89);
  EXPECT_EQ(t.end_key(3), 94);
  t.sliding_window = 4096;
  EXPECT_EQ(t.first_key(3), 0);
  problem.sliding_window = 0;
  problem.causal = false;
  t = describe_tensors(problem, shape);
  EXPECT_EQ(t.first_key(3), 0);
  EXPECT_EQ(t.end_key(3), 100);
}

TEST(Region, TauAndShiftPerHeadOverrideTheCommonOnes) {
  Policy policy;
  policy.tau = 0.5F;
  EXPECT_EQ(tau_of(policy, 1), 0.5F);
  EXPECT_EQ(shift_of(policy, 1), 0.0F);
  policy.tau_per_head = {0.1F, 0.2F};
  policy.shift_per_head = {1.0F, -2.0F};
  EXPECT_EQ(tau_of(policy, 1), 0.2F);
  EXPECT_EQ(shift_of(policy, 1), -2.0F);
}

} // namespace
} // namespace sale::reference
