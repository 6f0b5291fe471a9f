// SPDX-License-Identifier: Apache-2.0
// What the method promises, on structured data (invariances have their own file).
#include "reference/means.hpp"
#include "reference/metrics.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

using testing::all_estimators;
using testing::Case;
using testing::estimates_of;
using testing::for_each_block;
using testing::mask_of;

class Properties : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Long, Properties, ::testing::ValuesIn(testing::long_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });
class EveryLength : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Long, EveryLength, ::testing::ValuesIn(testing::long_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });
INSTANTIATE_TEST_SUITE_P(Short, EveryLength, ::testing::ValuesIn(testing::short_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });

TEST_P(EveryLength, P1TauZeroIsDenseForEveryRow) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Attention dense = run_dense(c.problem(), t);
  for (const Estimator estimator : all_estimators) {
    const Result result = run_sale(c.problem(), c.policy(estimator, 0.0F), t);
    EXPECT_EQ(result.mask, testing::visible_mask(c.policy(), c.shape(), c.num_q_heads));
    EXPECT_LE(testing::max_difference(result.out, dense.out), 1e-6);
    EXPECT_LE(testing::max_difference(result.lse, dense.lse), 1e-5);
  }
}

TEST_P(EveryLength, P3RIsKeptAndNothingAboveTheDiagonalIs) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Mask visible = testing::visible_mask(c.policy(), c.shape(), c.num_q_heads);
  for (const Estimator estimator : all_estimators) {
    for (const float tau : {0.004F, 1e9F}) {
      const Policy policy = c.policy(estimator, tau);
      const Mask mask = mask_of(t, policy, c.scale());
      EXPECT_TRUE(mask.is_subset_of(visible));
      for_each_block(policy, c.shape(), c.num_q_heads, [&](int b, int h, int m, int j, const Region &region) {
        if (region.in_reference(j)) {
          ASSERT_TRUE(mask.test(b, h, m, j));
        } else if (tau > 1.0F) {
          ASSERT_FALSE(mask.test(b, h, m, j)) << "nothing exceeds a huge tau";
        }
      });
    }
  }
}

TEST_P(Properties, P2MasksAreNestedInTau) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    Mask larger = testing::visible_mask(c.policy(), c.shape(), c.num_q_heads);
    for (const float tau : {1e-6F, 1e-3F, 0.004F, 0.02F, 0.1F, 1.0F}) {
      const Mask mask = mask_of(t, c.policy(estimator, tau), c.scale());
      EXPECT_TRUE(mask.is_subset_of(larger)) << to_string(estimator) << " tau " << tau;
      larger = mask;
    }
    EXPECT_LT(larger.count(), testing::visible_mask(c.policy(), c.shape(), c.num_q_heads).count());
  }
}

/// Those that can select for this case: a single query is its own mean, so int4 has nothing to estimate with.
std::vector<Estimator> integer_estimators_for(const Case &c) {
  return c.q_len > 1 ? std::vector{Estimator::int8, Estimator::int4} : std::vector{Estimator::int8};
}
std::vector<Estimator> quantizing_estimators_for(const Case &c) {
  std::vector<Estimator> estimators = integer_estimators_for(c);
  estimators.push_back(Estimator::fp8);
  return estimators;
}

/// ln Z of the reference keys of each row.
double reference_lse(const Thresholds &t, double scale, std::size_t row) {
  return scale * t.m[row] + std::log(t.l[row]);
}

TEST_P(Properties, P4ASkippedElementHasProbabilityAtMostTauAndNeverMoreThanItsRelativeScore) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.1F);
  const Thresholds reference = thresholds(t, policy, c.scale());
  const Mask mask = mask_of(t, policy, c.scale());
  std::size_t skipped = 0;
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int i = 0; i < c.q_len; i += 3) {
        const std::vector<double> p = testing::probabilities(t, c.scale(), nullptr, policy, b, h, i);
        const double lse = reference_lse(reference, c.scale(), t.q_row(b, h, i));
        for (int j = 0; j <= t.position(i); ++j) {
          if (!mask.test(b, h, i / c.block_q, j / c.block_k)) {
            const double relative_score = std::exp(c.scale() * testing::score(t, b, h, i, j) - lse);
            ASSERT_LE(relative_score, policy.tau * (1 + 1e-4));
            ASSERT_LE(p[j], relative_score * (1 + 1e-9));
            ++skipped;
          }
        }
      }
    }
  }
  EXPECT_GT(skipped, 0U);
}

TEST_P(Properties, P5SkippedMassAndOutputErrorAreBoundedByTheSkippedRelativeScores) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::int8, 0.1F);
  const Thresholds reference = thresholds(t, policy, c.scale());
  const Result sparse = run_sale(c.problem(), policy, t);
  const Attention dense = run_dense(c.problem(), t);
  double largest_mass = 0;
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      std::vector<float> low(c.head_dim, HUGE_VALF);
      std::vector<float> high(c.head_dim, -HUGE_VALF);
      for (int j = 0; j < c.kv_len; ++j) {
        for (int d = 0; d < c.head_dim; ++d) {
          low[d] = std::min(low[d], t.value(b, t.kv_head(h), j)[d]);
          high[d] = std::max(high[d], t.value(b, t.kv_head(h), j)[d]);
        }
      }
      for (int i = 0; i < c.q_len; i += 3) {
        const std::size_t row = t.q_row(b, h, i);
        const double lse = reference_lse(reference, c.scale(), row);
        const std::vector<double> p = testing::probabilities(t, c.scale(), nullptr, policy, b, h, i);
        double mass = 0;
        double relative = 0;
        for (int j = 0; j <= t.position(i); ++j) {
          if (!sparse.mask.test(b, h, i / c.block_q, j / c.block_k)) {
            mass += p[j];
            relative += std::exp(c.scale() * testing::score(t, b, h, i, j) - lse);
          }
        }
        ASSERT_LE(mass, relative / (1 + relative) + 1e-9);
        largest_mass = std::max(largest_mass, mass);
        for (int d = 0; d < c.head_dim; ++d) {
          const std::size_t e = row * c.head_dim + d;
          ASSERT_LE(std::fabs(sparse.out[e] - dense.out[e]), mass * (high[d] - low[d]) + 1e-5);
        }
      }
    }
  }
  RecordProperty("largest_skipped_mass", std::to_string(largest_mass));
  EXPECT_GT(largest_mass, 0.0);
}

/// One pass: the threshold of a row is renewed after every key block from all that the row has seen kept so far.
Mask one_pass_mask(const Tensors &t, const Policy &policy, double scale, const Thresholds &reference) {
  Mask mask(t.shape, t.num_q_heads, policy.block_q, policy.block_k);
  for_each_block(policy, t.shape, t.num_q_heads, [&](int b, int h, int m, int j, const Region &region) {
    if (region.in_reference(j)) {
      mask.set(b, h, m, j);
    }
    if (j != region.first_estimated || !region.estimated(j)) {
      return;
    }
    const int first_row = m * policy.block_q;
    const int rows = std::min(policy.block_q, t.shape.q_len - first_row);
    std::vector<double> log_sum(rows);
    for (int r = 0; r < rows; ++r) {
      log_sum[r] = reference_lse(reference, scale, t.q_row(b, h, first_row + r));
    }
    for (int block = region.first_estimated; block < region.end_estimated; ++block) {
      bool keep = false;
      std::vector<double> with_block = log_sum;
      for (int r = 0; r < rows; ++r) {
        for (int key = block * policy.block_k; key < (block + 1) * policy.block_k; ++key) {
          const double x = scale * testing::score(t, b, h, first_row + r, key);
          keep = keep || x > log_sum[r] + std::log(static_cast<double>(policy.tau));
          with_block[r] = std::max(with_block[r], x) + std::log1p(std::exp(-std::fabs(with_block[r] - x)));
        }
      }
      if (keep) {
        mask.set(b, h, m, block);
        log_sum = with_block;
      }
    }
  });
  return mask;
}

TEST_P(Properties, P6TheOnePassMaskIsASubsetOfTheTwoPassMask) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.01F);
  const Mask two_pass = mask_of(t, policy, c.scale());
  const Mask one_pass = one_pass_mask(t, policy, c.scale(), thresholds(t, policy, c.scale()));
  const Margins margins = estimate_margins(t, policy, estimates_of(t, policy, c.scale()));
  testing::expect_equal_but_for_ties(one_pass & two_pass, one_pass, margins, 1e-4);
  EXPECT_GT(one_pass.count(), 0U);
}

TEST_P(Properties, P8ComparingWithTIsComparingRelativeScoresWithTau) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.01F);
  const Estimates estimates = estimates_of(t, policy, c.scale());
  const Thresholds reference = thresholds(t, policy, c.scale());
  std::size_t mismatches = 0;
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int i = 0; i < c.q_len; i += 2) {
        const std::size_t row = t.q_row(b, h, i);
        const float threshold = estimates.rows.theta[row];
        for (int j = 0; j <= t.position(i); ++j) {
          const auto x = static_cast<float>(testing::score(t, b, h, i, j));
          const bool direct =
              std::exp(static_cast<double>(c.scale()) * (x - reference.m[row])) / reference.l[row] > policy.tau;
          if (direct != (x > threshold)) {
            ++mismatches;
            ASSERT_LE(std::fabs(x - threshold), std::nextafter(std::fabs(threshold), HUGE_VALF) - std::fabs(threshold));
          }
        }
      }
    }
  }
  RecordProperty("mismatches_within_an_ulp", static_cast<int>(mismatches));
}

TEST_P(Properties, P8TheExactMaskIsTheDefinition) {
  // A block is kept iff it is in R or the relative score of some pair exceeds tau.
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.01F);
  const Thresholds reference = thresholds(t, policy, c.scale());
  Mask expected(c.shape(), c.num_q_heads, c.block_q, c.block_k);
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int i = 0; i < c.q_len; ++i) {
        const Region region = region_of(policy, c.shape(), i / c.block_q);
        const double lse = reference_lse(reference, c.scale(), t.q_row(b, h, i));
        double reference_sum = 0;
        for (int j = 0; j <= t.position(i); ++j) {
          const double relative_score = std::exp(c.scale() * testing::score(t, b, h, i, j) - lse);
          const bool in_reference = region.in_reference(j / c.block_k);
          reference_sum += in_reference ? relative_score : 0.0;
          if (in_reference || relative_score > policy.tau) {
            expected.set(b, h, i / c.block_q, j / c.block_k);
          }
        }
        ASSERT_NEAR(reference_sum, 1.0, 1e-9) << "relative scores of R sum to 1";
      }
    }
  }
  // Rows of a query block see all of R's blocks only up to the diagonal; the mask keeps those blocks whole.
  const Margins margins = estimate_margins(t, policy, estimates_of(t, policy, c.scale()));
  testing::expect_equal_but_for_ties(mask_of(t, policy, c.scale()), expected, margins, 1e-4);
}

TEST_P(Properties, P10QuantizedMasksFindTheMassThatTheExactMaskFinds) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Mask exact = mask_of(t, c.policy(Estimator::exact), c.scale());
  const double exact_density = density(exact, c.policy(), c.shape()).total;
  for (const Estimator estimator : quantizing_estimators_for(c)) {
    const Policy policy = c.policy(estimator);
    const Mask mask = mask_of(t, policy, c.scale());
    const std::vector<double> found = hit_mass(t, policy, c.scale(), mask, exact);
    EXPECT_GE(*std::min_element(found.begin(), found.end()), estimator == Estimator::int4 ? 0.98 : 0.99);
    const double allowed = estimator == Estimator::int4 ? 0.06 : estimator == Estimator::fp8 ? 0.02 : 0.01;
    EXPECT_NEAR(density(mask, policy, c.shape()).total, exact_density, allowed) << to_string(estimator);
    const double shared = static_cast<double>((mask & exact).count());
    EXPECT_GE(shared / static_cast<double>(exact.count()), 1 - allowed) << "recall " << to_string(estimator);
    EXPECT_GE(shared / static_cast<double>(mask.count()), 1 - allowed) << "precision " << to_string(estimator);
  }
}

TEST_P(Properties, P16EveryKeyAboveItsRowsThresholdIsKept) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.01F);
  const Thresholds reference = thresholds(t, policy, c.scale());
  const Mask mask = mask_of(t, policy, c.scale());
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int i = 0; i < c.q_len; i += 2) {
        const double lse = reference_lse(reference, c.scale(), t.q_row(b, h, i));
        for (int j = 0; j <= t.position(i); ++j) {
          if (c.scale() * testing::score(t, b, h, i, j) > lse + std::log(policy.tau) + 1e-4) {
            ASSERT_TRUE(mask.test(b, h, i / c.block_q, j / c.block_k)) << "row " << i << " key " << j;
          }
        }
      }
    }
  }
}

TEST_P(Properties, P16ThePlantedNeedleIsFoundByEveryEstimator) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const int needle = needle_key(c.shape()) / c.block_k;
  const int last = (c.q_len - 1) / c.block_q;
  ASSERT_TRUE(region_of(c.policy(), c.shape(), last).estimated(needle));
  std::vector<Estimator> estimators = quantizing_estimators_for(c);
  estimators.push_back(Estimator::exact);
  for (const Estimator estimator : estimators) {
    const Mask mask = mask_of(t, c.policy(estimator, 0.02F), c.scale());
    for (int b = 0; b < c.batch; ++b) {
      for (int h = 0; h < c.num_q_heads; ++h) {
        EXPECT_TRUE(mask.test(b, h, last, needle)) << to_string(estimator) << " head " << h;
      }
    }
  }
}

TEST_P(Properties, P16AShiftAsLargeAsTheErrorOfTheEstimateMissesNothing) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy exact_policy = c.policy(Estimator::exact, 0.01F);
  const Mask exact = mask_of(t, exact_policy, c.scale());
  for (const Estimator estimator : integer_estimators_for(c)) {
    Policy policy = c.policy(estimator, 0.01F);
    const Mask unshifted = mask_of(t, policy, c.scale());
    // An entry of K' is off by at most sk / 2 and one of q by sq / 2, plus half a step of the rounded bias.
    const Estimates estimates = estimates_of(t, policy, c.scale());
    const double levels = estimator == Estimator::int8 ? 127 : 7;
    const double sk = *std::max_element(estimates.keys.scales.begin(), estimates.keys.scales.end());
    const double sq = *std::max_element(estimates.queries.scales.begin(), estimates.queries.scales.end());
    const double error = sq * sk * (c.head_dim * (levels + 0.25) + 0.5) * 1.001;
    policy.shift_per_head.assign(c.num_q_heads, static_cast<float>(error * c.scale()));
    EXPECT_TRUE(exact.is_subset_of(mask_of(t, policy, c.scale()))) << to_string(estimator);
    EXPECT_TRUE(unshifted.is_subset_of(mask_of(t, policy, c.scale()))) << to_string(estimator);
  }
}

} // namespace
} // namespace sale::reference
