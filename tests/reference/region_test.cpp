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
