// SPDX-License-Identifier: Apache-2.0
#include "calibrate/shift.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace sale {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Block block(int query_block, double mass, double exact_margin, double margin) {
  return {0, query_block, 0, mass, exact_margin, margin};
}

Shift shift_of(const HeadBlocks &blocks, double target, Part part = Part::whole) {
  return smallest_shift({&blocks}, target, part);
}

TEST(SmallestShift, keeps_just_enough_of_the_wanted_mass) {
  const HeadBlocks blocks = {block(0, 5, 1, 2), block(0, 3, 1, 0.5), block(0, 1, 1, -0.25), block(0, 1, 1, -1),
                             block(0, 100, -1, -9)};
  EXPECT_NEAR(shift_of(blocks, 0.5).nats, -2, 0.0011);
  EXPECT_NEAR(shift_of(blocks, 0.8).nats, -0.5, 0.0011);
  EXPECT_NEAR(shift_of(blocks, 0.9).nats, 0.25, 0.0011);
  EXPECT_NEAR(shift_of(blocks, 0.91).nats, 1, 0.0011);
}

TEST(SmallestShift, is_above_the_margin_that_it_must_overcome) {
  const HeadBlocks blocks = {block(0, 1, 1, -1)};
  const Shift shift = shift_of(blocks, 0.99);
  EXPECT_GT(shift.nats, 1.0F);
  Policy policy;
  EXPECT_EQ(figures_of(blocks, policy, {1, 64, 64}, shift.nats).found, 1U);
  EXPECT_EQ(figures_of(blocks, policy, {1, 64, 64}, 1.0).found, 0U);
}

TEST(SmallestShift, is_zero_where_nothing_is_wanted) {
  EXPECT_EQ(shift_of({}, 0.99).nats, 0.0F);
  EXPECT_EQ(shift_of({block(0, 1, -1, 3)}, 0.99).nats, 0.0F);
}

TEST(SmallestShift, says_when_the_estimator_never_selects_what_is_wanted) {
  const Shift shift = shift_of({block(0, 1, 1, -2), block(0, 1, 1, -infinity)}, 0.99);
  EXPECT_FALSE(shift.reached);
  EXPECT_NEAR(shift.nats, 2, 0.0011); // the best that there is
  EXPECT_TRUE(shift_of({block(0, 1, 1, -2), block(0, 1, 1, infinity)}, 0.5).reached);
}

TEST(SmallestShift, reads_only_its_part_and_all_its_lists) {
  const HeadBlocks a = {block(0, 1, 1, -1), block(1, 1, 1, -5)};
  const HeadBlocks b = {block(2, 1, 1, -3), block(3, 1, 1, -7)};
  EXPECT_NEAR(smallest_shift({&a, &b}, 1.0, Part::even).nats, 3, 0.0011);
  EXPECT_NEAR(smallest_shift({&a, &b}, 1.0, Part::odd).nats, 7, 0.0011);
}

TEST(Figures, count_blocks_and_mass_at_a_shift) {
  Policy policy;
  policy.sink = 32;
  policy.window = 64;
  const Shape shape{1, 256, 256}; // 4 query blocks of 2, 4, 6, 8 visible blocks; 0, 0, 1 and 3 of them estimated
  const HeadBlocks blocks = {block(2, 2, 1, 1), block(3, 1, 1, -1), block(3, 3, -1, 0.5), block(3, 4, -1, -2)};
  const Figures all = figures_of(blocks, policy, shape, 0.0);
  EXPECT_EQ(all.reference, 16U);
  EXPECT_EQ(all.rows, 256U);
  EXPECT_TRUE(all.counts());
  EXPECT_FALSE(figures_of({block(2, 0.2, 1, 1)}, policy, shape, 0.0).counts());
  EXPECT_EQ(all.estimated, 4U);
  EXPECT_EQ(all.wanted, 2U);
  EXPECT_EQ(all.kept, 2U);
  EXPECT_EQ(all.found, 1U);
  EXPECT_DOUBLE_EQ(all.hit_mass(), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(all.kept_share(), 0.5);
  EXPECT_DOUBLE_EQ(all.density(), 18.0 / 20.0);
  EXPECT_DOUBLE_EQ(all.exact_density(), 18.0 / 20.0);
  const Figures odd = figures_of(blocks, policy, shape, 1.5, Part::odd);
  EXPECT_EQ(odd.reference, 9U);
  EXPECT_EQ(odd.rows, 128U);
  EXPECT_EQ(odd.kept, 2U);
  EXPECT_DOUBLE_EQ(odd.hit_mass(), 1.0);
  Figures sum = figures_of(blocks, policy, shape, 0.0, Part::even);
  sum += figures_of(blocks, policy, shape, 0.0, Part::odd);
  EXPECT_EQ(sum.kept, all.kept);
  EXPECT_EQ(sum.reference, all.reference);
  EXPECT_DOUBLE_EQ(sum.hit_mass(), all.hit_mass());
}

} // namespace
} // namespace sale
