// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibrate.hpp"
#include "calibrate/constant_kbar.hpp"
#include "calibrate/channels.hpp"

#include "reference/channels.hpp"
#include "reference/means.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/synthetic.hpp"
#include "reference/thresholds.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace sale {
namespace {

using reference::Tensors;

Problem small_problem() {
  Problem problem;
  problem.head_dim = 64;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  return problem;
}

Policy policy_of(Estimator estimator, int estimate_dim = 0) {
  Policy policy;
  policy.estimator = estimator;
  policy.estimate_dim = estimate_dim;
  return policy;
}

Tensors input(std::uint64_t seed = 1, int batch = 1) {
  return reference::structured(small_problem(), {batch, 900, 1000}, seed);
}

float scale() { return effective_softmax_scale(small_problem()); }

CalibrationGoal goal_of(const Policy &policy) {
  CalibrationGoal goal;
  goal.policy = policy;
  goal.softmax_scale = scale();
  goal.least_shift = -100;
  return goal;
}

reference::Mask exact_mask(const Tensors &tensors, const Policy &calibrated) {
  const Policy policy = reference::exact_policy(calibrated);
  return reference::select(tensors, policy, scale(), {}, {}, reference::thresholds(tensors, policy, scale()).value);
}

class Calibrate : public ::testing::TestWithParam<Policy> {};

INSTANTIATE_TEST_SUITE_P(Estimators, Calibrate,
                         ::testing::Values(policy_of(Estimator::exact), policy_of(Estimator::int8),
                                           policy_of(Estimator::int4), policy_of(Estimator::fp8),
                                           policy_of(Estimator::fp8, 32)),
                         [](const auto &test) {
                           return std::string(to_string(test.param.estimator)) +
                                  (test.param.estimate_dim > 0 ? "_32" : "");
                         });

TEST_P(Calibrate, figures_are_those_of_a_run_with_the_calibrated_policy) {
  const Tensors tensors = input(1, 2);
  const Tensors other = input(2, 2);
  const LayerCalibration layer = calibrate_layer(goal_of(GetParam()), {tensors}, {other});
  const reference::Mask mask = reference::run_sale(small_problem(), layer.policy, other).mask;
  const std::vector<double> hits =
      reference::hit_mass(other, layer.policy, scale(), mask, exact_mask(other, layer.policy));
  const reference::Density density = reference::density(mask, layer.policy, other.shape);
  for (std::size_t h = 0; h < hits.size(); ++h) {
    // f16 sums of fp8 and thresholds rounded to fp32 may decide a block that is a rounding away.
    EXPECT_NEAR(layer.heads[h].after.hit_mass(), hits[h], 2e-3) << "head " << h;
    EXPECT_NEAR(layer.heads[h].after.density(), density.per_head[h], 2e-3) << "head " << h;
  }
}

TEST_P(Calibrate, the_smallest_shift_reaches_the_goal_on_its_own_data_and_a_smaller_one_does_not) {
  const Tensors tensors = input();
  const LayerCalibration layer = calibrate_layer(goal_of(GetParam()), {tensors}, {tensors});
  Policy policy = layer.policy;
  std::vector<HeadBlocks> heads = exact_blocks(tensors, policy, scale());
  estimate_blocks(tensors, policy, scale(), heads);
  for (std::size_t h = 0; h < heads.size(); ++h) {
    ASSERT_GT(layer.heads[h].after.wanted, 10U) << "the data must want something";
    EXPECT_TRUE(layer.heads[h].shift.reached);
    EXPECT_GE(layer.heads[h].after.hit_mass(), 0.99);
    const double less = layer.heads[h].shift.nats - 0.0021;
    EXPECT_LT(figures_of(heads[h], policy, tensors.shape, less).hit_mass(), 0.99);
  }
}

TEST(ConstantKbar, IsTheMeanOfTheSamplesMeans) {
  Problem problem;
  problem.num_q_heads = problem.num_kv_heads = 2;
  problem.head_dim = 64;
  const std::vector<reference::Tensors> samples = {reference::structured(problem, {1, 64, 64}, 1),
                                                   reference::structured(problem, {2, 32, 96}, 2)};
  const std::vector<float> one = reference::mean_keys(samples[0]);
  const std::vector<float> two = reference::mean_keys(samples[1]);
  const std::vector<float> kbar = constant_kbar(samples);
  ASSERT_EQ(kbar.size(), 128U);
  for (std::size_t i = 0; i < kbar.size(); ++i) {
    EXPECT_NEAR(kbar[i], (one[i] + two[i] + two[128 + i]) / 3, 1e-6F) << i;
  }
}

TEST(CalibrateHalves, judged_rows_do_not_take_part) {
  const Policy policy = policy_of(Estimator::fp8, 32);
  Tensors tensors = input();
  const LayerCalibration before = calibrate_layer(goal_of(policy), {tensors});
  for (std::size_t row = 0; row < tensors.q_rows(); ++row) {
    if ((row % tensors.shape.q_len) / policy.block_q % 2 == 1) {
      std::transform(tensors.q.begin() + row * tensors.head_dim, tensors.q.begin() + (row + 1) * tensors.head_dim,
                     tensors.q.begin() + row * tensors.head_dim, [](float x) { return -2.0F * x; });
    }
  }
  const LayerCalibration after = calibrate_layer(goal_of(policy), {tensors});
  EXPECT_EQ(before.policy.shift_per_head, after.policy.shift_per_head);
  EXPECT_EQ(before.policy.channels, after.policy.channels);
  EXPECT_NE(before.heads[0].before.hit_mass(), after.heads[0].before.hit_mass());
}

TEST(CalibrateHalves, a_calibrated_shift_helps_rows_that_it_has_not_seen) {
  const LayerCalibration layer = calibrate_layer(goal_of(policy_of(Estimator::fp8, 32)), {input(7)});
  for (const HeadCalibration &head : layer.heads) {
    EXPECT_GE(head.after.hit_mass(), 0.97);
  }
}

TEST(Channels, of_one_sample_are_the_oracles_own) {
  const Tensors tensors = input();
  const Policy policy = policy_of(Estimator::fp8, 32);
  EXPECT_EQ(channels_by_energy({&tensors}, policy),
            reference::choose_channels(tensors, policy, reference::mean_keys(tensors)).index);
}

TEST(Channels, that_the_policy_gives_are_kept) {
  Policy policy = policy_of(Estimator::fp8, 32);
  for (int i = 0; i < 64; ++i) {
    policy.channels.push_back(i % 32 * 2);
  }
  EXPECT_EQ(calibrate_layer(goal_of(policy), {input()}).policy.channels, policy.channels);
}

TEST(CalibrateLayer, no_shift_is_below_the_least) {
  CalibrationGoal goal = goal_of(policy_of(Estimator::exact)); // at shift 0 the exact estimate keeps all that is wanted
  for (const float shift : calibrate_layer(goal, {input()}).policy.shift_per_head) {
    EXPECT_LT(shift, 0.0F);
  }
  goal.least_shift = CalibrationGoal().least_shift;
  for (const float shift : calibrate_layer(goal, {input()}).policy.shift_per_head) {
    EXPECT_EQ(shift, 0.0F);
  }
}

TEST(CalibrateLayer, a_dense_head_needs_no_shift) {
  Policy policy = policy_of(Estimator::int8);
  policy.tau_per_head = {0.0F, 0.004F, 0.004F, 0.004F};
  const LayerCalibration layer = calibrate_layer(goal_of(policy), {input()});
  EXPECT_EQ(layer.heads[0].shift.nats, 0.0F);
  EXPECT_EQ(layer.heads[0].after.density(), 1.0);
  EXPECT_EQ(layer.heads[0].after.hit_mass(), 1.0);
}

std::string refusal(const std::vector<Tensors> &samples, const std::vector<Tensors> &judges = {}) {
  try {
    calibrate_layer(goal_of(policy_of(Estimator::int8)), samples, judges);
  } catch (const Error &error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(CalibrateLayer, refuses_what_cannot_be_calibrated) {
  Tensors infinite = input();
  infinite.k[5] = INFINITY;
  EXPECT_NE(refusal({infinite}).find("q and k must be finite"), std::string::npos);

  Problem one_head = small_problem();
  one_head.num_q_heads = 2;
  const Tensors fewer = reference::structured(one_head, {1, 900, 1000});
  EXPECT_NE(refusal({input()}, {fewer}).find("must have the same heads"), std::string::npos);

  const Tensors tiny = reference::structured(small_problem(), {1, 128, 128});
  EXPECT_NE(refusal({tiny}).find("too few tokens to calibrate on"), std::string::npos);
  EXPECT_NE(refusal({input()}, {tiny}).find("too few tokens to judge on"), std::string::npos);
}

} // namespace
} // namespace sale
