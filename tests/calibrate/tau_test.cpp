// SPDX-License-Identifier: Apache-2.0
#include "calibrate/tau.hpp"

#include "calibrate/error_curve.hpp"
#include "reference/attend.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"
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

Tensors input(std::uint64_t seed = 1, int tokens = 900) {
  return reference::structured(small_problem(), {1, tokens, tokens}, seed);
}

float scale() { return effective_softmax_scale(small_problem()); }

Policy policy_of(Estimator estimator, int estimate_dim = 0) {
  Policy policy;
  policy.estimator = estimator;
  policy.estimate_dim = estimate_dim;
  return policy;
}

TauGoal goal_of(const Policy &policy, double rel_l1) {
  TauGoal goal;
  goal.policy = policy;
  goal.softmax_scale = scale();
  goal.bound.rel_l1 = rel_l1;
  goal.largest_tau = 1;
  return goal;
}

Tensors prefix(const Tensors &whole, int tokens) {
  Tensors result = whole;
  result.shape = {1, tokens, tokens};
  const auto cut = [&](const std::vector<float> &values, int heads) {
    std::vector<float> rows;
    for (int h = 0; h < heads; ++h) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(h) * whole.shape.kv_len * whole.head_dim;
      rows.insert(rows.end(), first, first + static_cast<std::ptrdiff_t>(tokens) * whole.head_dim);
    }
    return rows;
  };
  result.q = cut(whole.q, whole.num_q_heads);
  result.k = cut(whole.k, whole.num_kv_heads);
  result.v = cut(whole.v, whole.num_kv_heads);
  return result;
}

struct RunError {
  double difference = 0;
  double size = 0;
};

/// By whole runs of the oracle: per head, over rows of query blocks that `counts` takes.
template <class Counts>
std::vector<RunError> errors_of_run(const Policy &policy, const Tensors &tensors, Counts counts) {
  const reference::Attention dense = reference::run_dense(small_problem(), tensors);
  const reference::Mask mask = reference::run_sale(small_problem(), policy, tensors).mask;
  const reference::Attention sparse = reference::attend(tensors, scale(), &mask, policy.block_q, policy.block_k);
  std::vector<RunError> errors(tensors.num_q_heads);
  for (int h = 0; h < tensors.num_q_heads; ++h) {
    for (int i = 0; i < tensors.shape.q_len; ++i) {
      for (int d = 0; d < tensors.head_dim && counts(i / policy.block_q); ++d) {
        const std::size_t at = tensors.q_row(0, h, i) * tensors.head_dim + d;
        errors[h].difference += std::fabs(sparse.out[at] - dense.out[at]);
        errors[h].size += std::fabs(dense.out[at]);
      }
    }
  }
  return errors;
}

bool all_blocks(int) { return true; }

class TauEstimators : public ::testing::TestWithParam<Policy> {};

INSTANTIATE_TEST_SUITE_P(Estimators, TauEstimators,
                         ::testing::Values(policy_of(Estimator::exact), policy_of(Estimator::int8),
                                           policy_of(Estimator::int4), policy_of(Estimator::fp8),
                                           policy_of(Estimator::fp8, 32)),
                         [](const auto &test) {
                           return std::string(to_string(test.param.estimator)) +
                                  (test.param.estimate_dim > 0 ? "_32" : "");
                         });

TEST_P(TauEstimators, the_bound_holds_in_whole_runs_and_a_larger_tau_breaks_it) {
  const std::vector<Tensors> samples = {input(1), input(2, 700)};
  const double bound = 0.05;
  const LayerTau layer = calibrate_tau(goal_of(GetParam(), bound), samples, {samples[0]});
  int broken = 0;
  for (int h = 0; h < 4; ++h) {
    const float tau = layer.heads[h].tau;
    ASSERT_GT(tau, 0.0F) << "nothing to see in head " << h;
    Policy larger = layer.policy;
    larger.tau_per_head[h] = tau * 1.1F;
    bool breaks = false;
    for (const Tensors &sample : samples) {
      const RunError error = errors_of_run(layer.policy, sample, all_blocks)[h];
      EXPECT_LE(error.difference, bound * error.size + 1e-3) << "head " << h;
      const RunError beyond = errors_of_run(larger, sample, all_blocks)[h];
      breaks = breaks || beyond.difference > bound * beyond.size;
    }
    broken += breaks || tau == 1.0F ? 1 : 0;
  }
  EXPECT_GE(broken, 3); // the error may fall again within 10 %
}

TEST(Tau, an_error_curve_is_the_error_of_whole_runs_at_every_tau) {
  const Tensors tensors = input(3);
  Policy policy = policy_of(Estimator::int8);
  policy.shift_per_head = {0, 1, -0.5F, 0};
  const Sequence sequence = sequences_of({tensors}, policy, {}).front();
  const std::vector<ErrorCurve> curves = error_curves(sequence, policy, scale(), least_tau, 0.3F);
  for (const float tau : {1e-4F, 7e-4F, 0.0123F, 0.29F}) {
    Policy at = policy;
    at.tau = tau;
    const std::vector<RunError> expected = errors_of_run(at, tensors, all_blocks);
    for (int h = 0; h < 4; ++h) {
      double error = curves[h].least_error;
      for (const ErrorCurve::Step &step : curves[h].steps) {
        error += step.log_tau <= std::log(tau) ? step.change : 0.0;
      }
      EXPECT_NEAR(error, expected[h].difference, 1e-4 * expected[h].size + 1e-3) << "head " << h << " tau " << tau;
      EXPECT_NEAR(curves[h].size, expected[h].size, 1e-3 * expected[h].size);
      EXPECT_GT(curves[h].steps.size(), 20U);
    }
  }
}

TEST(Tau, the_end_of_a_curve_is_its_first_step_above_the_bound_even_where_it_falls_again) {
  ErrorCurve curve;
  curve.rows = 10;
  curve.size = 100;
  curve.least_error = 1;
  curve.steps = {{-5, 2}, {-4, 3}, {-3, -4}, {-2, 9}, {-1, 5}, {-1, -5}};
  const auto end = [&](double l1, double rel_l1) { return curve.end_of({l1, rel_l1}); };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(end(0.09, infinity), -infinity);
  EXPECT_EQ(end(0.1, infinity), -5);
  EXPECT_EQ(end(0.5, infinity), -4);
  EXPECT_EQ(end(0.6, infinity), -2);
  EXPECT_EQ(end(1.1, infinity), infinity); // two steps at one tau count together
  EXPECT_EQ(end(infinity, 0.05), -4);
  EXPECT_EQ(end(0.6, 0.05), -4) << "both bounds must hold";
  EXPECT_EQ(end(infinity, infinity), infinity);
}

TEST(Tau, is_clamped_to_the_largest_and_dense_where_nothing_is_within) {
  TauGoal goal = goal_of(policy_of(Estimator::int8), 100);
  goal.largest_tau = 0.008F;
  for (const HeadTau &head : calibrate_tau(goal, {input()}).heads) {
    EXPECT_EQ(head.tau, 0.008F);
  }
  goal.bound.rel_l1 = 1e-9;
  goal.policy.shift_per_head = {-6, -6, -6, -6}; // or the least tau would keep every block of so short a sequence
  for (const HeadTau &head : calibrate_tau(goal, {input()}).heads) {
    EXPECT_EQ(head.tau, 0.0F);
    EXPECT_EQ(head.violations(goal.bound), 0);
    EXPECT_EQ(head.total().density(), 1.0);
    EXPECT_NEAR(head.total().recall(), 1.0, 1e-12);
  }
}

TEST(Tau, every_length_asked_for_is_within_the_bound) {
  Tensors whole = input(5, 1000);
  // Late rows look at themselves only: they lose nothing, and hide in the mean what early rows lose.
  for (int h = 0; h < whole.num_q_heads; ++h) {
    for (int i = 640; i < 1000; ++i) {
      const float *key = whole.key(0, whole.kv_head(h), i);
      std::transform(key, key + whole.head_dim, whole.q.begin() + whole.q_row(0, h, i) * whole.head_dim,
                     [](float x) { return 4 * x; });
    }
  }
  TauGoal goal = goal_of(policy_of(Estimator::int8), 0.05);
  const LayerTau without = calibrate_tau(goal, {whole}, {whole});
  goal.lengths = {400, 640};
  const LayerTau with = calibrate_tau(goal, {whole}, {whole});
  bool lower = false;
  for (int h = 0; h < 4; ++h) {
    EXPECT_LE(with.heads[h].tau, without.heads[h].tau);
    lower = lower || with.heads[h].tau < without.heads[h].tau;
    ASSERT_EQ(with.heads[h].judged.size(), 3U);
    EXPECT_EQ(with.heads[h].judged[0].length, 400);
    EXPECT_EQ(with.heads[h].judged[2].length, 1000);
    EXPECT_EQ(with.heads[h].violations(goal.bound), 0);
    for (const int length : {400, 640, 1000}) {
      const RunError error = errors_of_run(with.policy, prefix(whole, length), all_blocks)[h];
      EXPECT_LE(error.difference, 0.05 * error.size + 1e-3) << "head " << h << " length " << length;
    }
  }
  EXPECT_TRUE(lower) << "the lengths changed nothing in this input";
}

TEST(Tau, judging_figures_are_those_of_a_run_on_rows_that_did_not_calibrate) {
  const Tensors tensors = input(4, 1000);
  TauGoal goal = goal_of(policy_of(Estimator::int8), 0.05);
  const LayerTau halves = calibrate_tau(goal, {tensors});
  const std::vector<RunError> odd = errors_of_run(halves.policy, tensors, [](int m) { return m % 2 == 1; });
  const std::vector<RunError> even = errors_of_run(halves.policy, tensors, [](int m) { return m % 2 == 0; });
  const LayerTau other = calibrate_tau(goal, {tensors}, {input(6)});
  const reference::Mask mask = reference::run_sale(small_problem(), other.policy, input(6)).mask;
  const reference::Density density = reference::density(mask, other.policy, input(6).shape);
  for (int h = 0; h < 4; ++h) {
    EXPECT_LE(even[h].difference, 0.05 * even[h].size + 1e-3);
    const OutputError judged = halves.heads[h].total();
    EXPECT_NEAR(judged.difference, odd[h].difference, 1e-3 * odd[h].size);
    EXPECT_NEAR(judged.rel_l1(), odd[h].difference / odd[h].size, 1e-4);
    EXPECT_EQ(halves.heads[h].violations(goal.bound), judged.rel_l1() > 0.05 ? 1 : 0);
    EXPECT_NEAR(other.heads[h].total().density(), density.per_head[h], 1e-12);
    EXPECT_GT(judged.recall(), judged.least_recall);
  }
}

TEST(Tau, rows_choose_whole_query_blocks_spread_over_the_sequence) {
  const auto chosen = [](int rows, Part part) {
    SequenceChoice choice;
    choice.rows = rows;
    choice.part = part;
    std::vector<int> blocks;
    const std::vector<bool> flags = sequences_of({input(1, 600)}, Policy(), choice).front().chosen; // 10 blocks of 64
    for (int m = 0; m < 10; ++m) {
      if (flags[m]) {
        blocks.push_back(m);
      }
    }
    return blocks;
  };
  EXPECT_EQ(chosen(65, Part::whole), (std::vector<int>{2, 7}));
  EXPECT_EQ(chosen(1, Part::odd), (std::vector<int>{5}));
  EXPECT_EQ(chosen(9999, Part::even), (std::vector<int>{0, 2, 4, 6, 8}));
  TauGoal goal = goal_of(Policy(), 0.05);
  goal.rows = 128;
  const Tensors tensors = input();
  const LayerTau layer = calibrate_tau(goal, {tensors}, {tensors});
  const std::vector<RunError> errors = errors_of_run(layer.policy, tensors, [](int m) { return m == 3 || m == 11; });
  for (int h = 0; h < 4; ++h) {
    EXPECT_EQ(layer.heads[h].total().rows, 128U);
    EXPECT_NEAR(layer.heads[h].total().difference, errors[h].difference, 1e-3 * errors[h].size);
    EXPECT_EQ(layer.heads[h].violations(goal.bound), 0);
  }
}

TEST(Tau, a_projection_takes_the_place_of_channels) {
  const std::vector<Tensors> samples = {input(1), input(2, 700)};
  TauGoal goal = goal_of(policy_of(Estimator::fp8, 32), 0.05);
  goal.project = true;
  const LayerTau layer = calibrate_tau(goal, samples, {samples[0]});
  EXPECT_TRUE(layer.policy.channels.empty());
  validate(layer.policy, small_problem());
  ASSERT_EQ(layer.policy.projection.size(), std::size_t{2} * 2 * 32 * 64);
  for (int h = 0; h < 4; ++h) {
    for (const Tensors &sample : samples) {
      const RunError error = errors_of_run(layer.policy, sample, all_blocks)[h];
      EXPECT_LE(error.difference, 0.05 * error.size + 1e-3) << "head " << h;
    }
  }
}

TEST(Tau, each_batch_element_is_a_sequence_of_its_own) {
  const Tensors both = reference::structured(small_problem(), {2, 500, 500}, 9);
  const LayerTau layer = calibrate_tau(goal_of(Policy(), 0.05), {both}, {both});
  for (const HeadTau &head : layer.heads) {
    ASSERT_EQ(head.judged.size(), 2U);
    EXPECT_NE(head.judged[0].error.difference, head.judged[1].error.difference);
  }
}

TEST(Tau, what_cannot_be_is_refused_with_a_reason) {
  const auto refusal = [](const TauGoal &goal, const std::vector<Tensors> &samples) {
    try {
      calibrate_tau(goal, samples);
    } catch (const Error &error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const TauGoal good = goal_of(Policy(), 0.05);
  TauGoal goal = good;
  goal.bound.l1 = 0;
  EXPECT_NE(refusal(goal, {input()}).find("must be above 0"), std::string::npos);
  goal = good;
  goal.largest_tau = 1e-5F;
  EXPECT_NE(refusal(goal, {input()}).find("largest tau"), std::string::npos);
  goal = good;
  goal.lengths = {901};
  EXPECT_NE(refusal(goal, {input()}).find("length 901 must be from 1 to 900"), std::string::npos);
  goal.lengths = {100};
  EXPECT_NE(refusal(goal, {reference::structured(small_problem(), {1, 300, 400})}).find("a query for every key"),
            std::string::npos);
  goal = good;
  goal.policy.second_filter = true;
  EXPECT_NE(refusal(goal, {input()}).find("second_filter"), std::string::npos);
  Tensors broken = input();
  broken.v[5] = NAN;
  EXPECT_NE(refusal(good, {broken}).find("must be finite"), std::string::npos);
}

} // namespace
} // namespace sale
