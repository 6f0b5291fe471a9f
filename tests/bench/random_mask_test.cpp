// SPDX-License-Identifier: Apache-2.0
#include "bench/random_mask.hpp"

#include "reference/mask.hpp"
#include "reference/metrics.hpp"
#include "reference/region.hpp"

#include <gtest/gtest.h>

namespace sale::bench {
namespace {

Problem small_problem() {
  Problem problem;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  return problem;
}

reference::Mask as_mask(std::vector<std::uint32_t> words, const Policy &policy, const Shape &shape) {
  reference::Mask mask(shape, small_problem().num_q_heads, policy.block_q, policy.block_k);
  mask.assign_words(std::move(words)); // refuses bits beyond the keys
  return mask;
}

TEST(RandomMask, keeps_the_reference_region_and_the_density_and_nothing_that_is_not_visible) {
  const Policy policy;
  const Shape shape{2, 3000, 4000};
  for (const double density : {0.3, 0.5}) {
    const auto words = random_mask(small_problem(), policy, shape, density, 1);
    const reference::Mask mask = as_mask(words, policy, shape);
    EXPECT_NEAR(reference::density(mask, policy, shape).total, density, 0.01);
    EXPECT_DOUBLE_EQ(mask_density(words, small_problem(), policy, shape),
                     reference::density(mask, policy, shape).total);
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const reference::Region region = reference::region_of(policy, shape, m);
      for (int j = 0; j < mask.k_blocks(); ++j) {
        if (region.in_reference(j) || !region.visible(j)) {
          EXPECT_EQ(mask.test(1, 3, m, j), region.in_reference(j)) << m << " " << j;
        }
      }
    }
  }
}

TEST(RandomMask, of_density_one_keeps_all_and_of_zero_the_reference_region) {
  const Policy policy;
  const Shape shape{1, 700, 700};
  EXPECT_EQ(mask_density(random_mask(small_problem(), policy, shape, 1, 1), small_problem(), policy, shape), 1);
  const reference::Mask least = as_mask(random_mask(small_problem(), policy, shape, 0, 1), policy, shape);
  EXPECT_EQ(reference::density(least, policy, shape).estimated, 0);
}

TEST(RandomMask, is_the_same_for_a_seed_and_another_for_another) {
  const Policy policy;
  const Shape shape{1, 2048, 2048};
  const auto first = random_mask(small_problem(), policy, shape, 0.3, 1);
  EXPECT_EQ(first, random_mask(small_problem(), policy, shape, 0.3, 1));
  EXPECT_NE(first, random_mask(small_problem(), policy, shape, 0.3, 2));
}

} // namespace
} // namespace sale::bench
