// SPDX-License-Identifier: Apache-2.0
// Sliding windows, learned sinks, softcap and non-causal attention against their definitions, one pair at a time.
#include "reference/attend.hpp"
#include "reference/region.hpp"
#include "reference/run.hpp"
#include "reference/softcap.hpp"
#include "reference/synthetic.hpp"
#include "reference/thresholds.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::reference {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Variant {
  const char *name;
  bool causal = true;
  int sliding_window = 0;
  float softcap = 0.0F;
  std::vector<float> sinks = {}; ///< One per query head.
};

Problem problem_of(const Variant &variant) {
  Problem problem;
  problem.head_dim = 64;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  problem.causal = variant.causal;
  problem.sliding_window = variant.sliding_window;
  problem.softcap = variant.softcap;
  problem.sink_logits = !variant.sinks.empty();
  return problem;
}

Tensors tensors_of(const Variant &variant, const Shape &shape) {
  Tensors t = structured(problem_of(variant), shape, 5);
  t.sink_logits = variant.sinks;
  return t;
}

/// The logit of a pair in nats; -infinity where the row does not see the key.
double logit(const Variant &variant, const Tensors &t, double scale, int b, int h, int i, int j) {
  const int p = t.shape.kv_len - t.shape.q_len + i;
  if (variant.causal && (j > p || (variant.sliding_window > 0 && j <= p - variant.sliding_window))) {
    return -infinity;
  }
  const double x = scale * testing::score(t, b, h, i, j);
  return variant.softcap > 0.0F ? variant.softcap * std::tanh(x / variant.softcap) : x;
}

/// ln of the sum of exponentials of the row's logits over keys that `counts`, and of its sink.
template <class Counts>
double log_sum(const Variant &variant, const Tensors &t, double scale, int b, int h, int i, const Counts &counts) {
  std::vector<double> logits;
  for (int j = 0; j < t.shape.kv_len; ++j) {
    if (counts(j)) {
      logits.push_back(logit(variant, t, scale, b, h, i, j));
    }
  }
  logits.push_back(variant.sinks.empty() ? -infinity : variant.sinks[h]);
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) {
    sum += x == -infinity ? 0.0 : std::exp(x - max);
  }
  return sum == 0.0 ? -infinity : max + std::log(sum);
}

class Variants : public ::testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Each, Variants,
                         ::testing::Values(Variant{"Sliding1", true, 1}, Variant{"Sliding31", true, 31},
                                           Variant{"Sliding100", true, 100}, Variant{"Sliding4096", true, 4096},
                                           Variant{"NonCausal", false}, Variant{"Softcap1", true, 0, 1.0F},
                                           Variant{"Softcap50", true, 0, 50.0F},
                                           Variant{"Sinks", true, 0, 0.0F, {0.0F, 30.0F, -float(infinity), 200.0F}},
                                           Variant{"SlidingSoftcapSinks", true, 64, 5.0F, {1.0F, -2.0F, 0.0F, 4.0F}},
                                           Variant{"NonCausalSoftcapSinks", false, 0, 5.0F, {1.0F, -2.0F, 0.0F, 4.0F}}),
                         [](const auto &test) { return test.param.name; });

std::vector<Shape> shapes_of(const Variant &variant) {
  std::vector<Shape> shapes = {{2, 70, 333}, {1, 129, 129}, {1, 1, 200}};
  if (!variant.causal) {
    shapes.push_back({1, 200, 65});
  }
  return shapes;
}

Policy narrow_policy() {
  Policy policy;
  policy.estimator = Estimator::exact;
  policy.sink = 1;
  policy.window = 20;
  policy.tau = 0.01F;
  return policy;
}

TEST_P(Variants, DenseAttentionIsTheSoftmaxOverWhatARowSeesAndItsSink) {
  const Variant variant = GetParam();
  const double scale = effective_softmax_scale(problem_of(variant));
  for (const Shape &shape : shapes_of(variant)) {
    const Tensors t = tensors_of(variant, shape);
    const Attention actual = run_dense(problem_of(variant), t);
    for (int h = 0; h < t.num_q_heads; ++h) {
      for (int i = 0; i < shape.q_len; i += 3) {
        const int b = shape.batch - 1;
        const double lse = log_sum(variant, t, scale, b, h, i, [](int) { return true; });
        const std::size_t row = t.q_row(b, h, i);
        EXPECT_NEAR(actual.lse[row], lse, 1e-5);
        for (const int d : {0, 63}) {
          double out = 0;
          for (int j = 0; j < shape.kv_len; ++j) {
            out += std::exp(logit(variant, t, scale, b, h, i, j) - lse) * t.value(b, t.kv_head(h), j)[d];
          }
          EXPECT_NEAR(actual.out[row * 64 + d], out, 1e-5);
        }
      }
    }
  }
}

TEST_P(Variants, ThresholdsAreTheLogitsThatReachTauOfTheReferenceKeysMass) {
  const Variant variant = GetParam();
  const float scale = effective_softmax_scale(problem_of(variant));
  const Policy policy = narrow_policy();
  for (const Shape &shape : shapes_of(variant)) {
    const Tensors t = tensors_of(variant, shape);
    const auto actual = thresholds(t, policy, scale).value;
    for (int h = 0; h < t.num_q_heads; ++h) {
      for (int i = 0; i < shape.q_len; i += 3) {
        const Region region = region_of(policy, t, i / policy.block_q);
        const double y =
            log_sum(variant, t, scale, 0, h, i, [&](int j) { return region.in_reference(j / policy.block_k); }) +
            std::log(static_cast<double>(policy.tau));
        const float threshold = actual[t.q_row(0, h, i)];
        if (variant.softcap > 0.0F && std::abs(y) >= variant.softcap) {
          EXPECT_EQ(threshold, std::copysign(infinity, y));
        } else {
          EXPECT_NEAR(scale * softcapped(t, scale, threshold), y, 1e-5);
        }
      }
    }
  }
}

TEST_P(Variants, AtTau0MaskedAttentionIsDense) {
  const Variant variant = GetParam();
  Policy policy = narrow_policy();
  policy.tau = 0.0F;
  for (const Shape &shape : shapes_of(variant)) {
    const Tensors t = tensors_of(variant, shape);
    const Result sparse = run_sale(problem_of(variant), policy, t);
    const Attention dense = run_dense(problem_of(variant), t);
    EXPECT_EQ(sparse.mask, every_visible_block(policy, t));
    EXPECT_LE(testing::max_difference(sparse.out, dense.out), 1e-6);
    EXPECT_LE(testing::max_difference(sparse.lse, dense.lse), 1e-6);
  }
}

TEST_P(Variants, EveryEstimatedKeyThatReachesTauIsKept) {
  const Variant variant = GetParam();
  const double scale = effective_softmax_scale(problem_of(variant));
  const Policy policy = narrow_policy();
  const Shape shape{1, 70, 333};
  const Tensors t = tensors_of(variant, shape);
  const Result result = run_sale(problem_of(variant), policy, t);
  for (int h = 0; h < t.num_q_heads; ++h) {
    for (int i = 0; i < shape.q_len; i += 3) {
      const Region region = region_of(policy, t, i / policy.block_q);
      const double y =
          log_sum(variant, t, scale, 0, h, i, [&](int j) { return region.in_reference(j / policy.block_k); }) +
          std::log(static_cast<double>(policy.tau));
      for (int j = 0; j < shape.kv_len; ++j) {
        if (region.estimated(j / policy.block_k) && logit(variant, t, scale, 0, h, i, j) > y + 1e-4) {
          EXPECT_TRUE(result.mask.test(0, h, i / policy.block_q, j / policy.block_k));
        }
      }
    }
  }
}

// Also over all keys of the rows that the last query block lacks: R is made of whole query blocks.
TEST(Variants, AWindowOverAllKeysChangesNothing) {
  const Shape shape{1, 70, 333};
  const Variant plain{"Plain"};
  const Variant sliding{"Sliding400", true, 400};
  const Result a = run_sale(problem_of(plain), narrow_policy(), tensors_of(plain, shape));
  const Result b = run_sale(problem_of(sliding), narrow_policy(), tensors_of(sliding, shape));
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(a.lse, b.lse);
  EXPECT_EQ(a.mask, b.mask);
}

TEST(Variants, TheChunksOfASlidingCallKeepWhatTheWholeKeeps) {
  const Variant variant{"Sliding100", true, 100};
  const Tensors t = tensors_of(variant, {1, 300, 300});
  const Policy policy = narrow_policy();
  const Result whole = run_sale(problem_of(variant), policy, t);
  for (const int first : {0, 64, 192}) {
    const int count = std::min(128, 300 - first);
    const Result part = run_sale(problem_of(variant), policy, testing::chunk_of(t, first, count));
    for (int m = 0; m < part.mask.q_blocks(); ++m) {
      for (int j = 0; j < part.mask.k_blocks(); ++j) {
        EXPECT_EQ(part.mask.test(0, 1, m, j), whole.mask.test(0, 1, m + first / 64, j))
            << first << " " << m << " " << j;
      }
    }
  }
}

TEST(Variants, ARowWithoutKeysHasItsSinkAsLse) {
  const Variant variant{"Sinks", true, 0, 0.0F, {0.5F, 30.0F, -float(infinity), 200.0F}};
  const Tensors t = tensors_of(variant, {1, 64, 64});
  const Mask nothing(t.shape, 4, 64, 32);
  const Attention attention = attend(t, 0.125F, &nothing, 64, 32);
  for (int h = 0; h < 4; ++h) {
    EXPECT_EQ(attention.lse[t.q_row(0, h, 7)], variant.sinks[h]);
    EXPECT_EQ(attention.out[t.q_row(0, h, 7) * 64], 0.0F);
  }
}

TEST(Variants, ASoftcapFarAboveTheLogitsIsAlmostNone) {
  const Variant plain{"Plain"};
  const Variant capped{"Softcap1000", true, 0, 1000.0F};
  const Shape shape{1, 70, 333};
  const Attention a = run_dense(problem_of(plain), tensors_of(plain, shape));
  const Attention b = run_dense(problem_of(capped), tensors_of(capped, shape));
  EXPECT_LE(testing::max_difference(a.out, b.out), 1e-3);
}

} // namespace
} // namespace sale::reference
