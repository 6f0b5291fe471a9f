// SPDX-License-Identifier: Apache-2.0
#include "reference/attend_fp8.hpp"

#include "reference/float8.hpp"
#include "reference/means.hpp"
#include "reference/run.hpp"
#include "reference/second_filter.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

namespace sale::reference {
namespace {

using testing::Case;

double rel_l2(const std::vector<float> &values, const std::vector<float> &expected) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(values[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST(Fp8Values, HaveTheirHeadsLargestMagnitudeAbove224) {
  const Case c{.head_dim = 64, .num_q_heads = 2, .num_kv_heads = 2, .q_len = 3, .kv_len = 75, .batch = 2};
  Tensors t = c.tensors();
  constexpr std::size_t size = 75 * 64; // of a head
  std::fill_n(t.v.begin(), size, 0.0F);
  std::for_each_n(t.v.begin() + size, size, [](float &x) { x *= 0x1p-30F; });
  t.v[2 * size + 5] = 448.0F;
  t.v[3 * size - 1] = -449.0F;
  t.v[4 * size - 1] = 448.0F;
  const QuantizedValues values = quantize_values_fp8(t);
  ASSERT_EQ(values.scales.size(), 2U * 2);
  EXPECT_EQ(values.scales[0], 1.0F);
  EXPECT_EQ(values.scales[2], 2.0F);
  EXPECT_EQ(values.scales[3], 1.0F);
  for (std::size_t head = 0; head < values.scales.size(); ++head) {
    float amax = 0;
    for (std::size_t i = head * size; i < (head + 1) * size; ++i) {
      amax = std::max(amax, std::fabs(t.v[i]));
      const float scaled = t.v[i] / values.scales[head];
      ASSERT_EQ(static_cast<std::uint8_t>(values.codes[i]), float_to_e4m3(scaled));
    }
    if (head > 0) {
      EXPECT_GT(amax / values.scales[head], 224.0F);
      EXPECT_LE(amax / values.scales[head], 448.0F);
    }
  }
}

TEST(Fp8Values, BesideNanOrInfinityAreAlmostNothing) {
  const Case c{.head_dim = 64, .num_q_heads = 1, .q_len = 1, .kv_len = 2};
  for (const float huge : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Tensors t = c.tensors();
    t.v[70] = huge;
    t.v[100] = 3.0F;
    const QuantizedValues values = quantize_values_fp8(t);
    EXPECT_EQ(values.scales[0], 0x1p100F);
    EXPECT_EQ(values.codes[100], 0);
    EXPECT_EQ(static_cast<std::uint8_t>(values.codes[70]), std::isnan(huge) ? 0x7f : 0xfe);
  }
}

TEST(Fp8Values, OfExtremeSizeHaveClampedExponents) {
  const Case c{.head_dim = 64, .num_q_heads = 1, .q_len = 1, .kv_len = 1};
  Tensors t = make_tensors(c.problem(), c.shape());
  for (const auto &[value, scale] : {std::pair{0x1p-130F, 0x1p-100F}, {0x1p120F, 0x1p100F}, {0x1p-100F, 0x1p-100F}}) {
    t.v[7] = value;
    EXPECT_EQ(quantize_values_fp8(t).scales[0], scale);
  }
}

class Fp8Attend : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, Fp8Attend, ::testing::ValuesIn(testing::long_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });

TEST_P(Fp8Attend, IsCloseToExactAttention) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact);
  const Mask mask = testing::mask_of(t, policy, c.scale());
  const Attention exact = attend(t, c.scale(), &mask, c.block_q, c.block_k);
  const Attention fp8 = attend_fp8(t, c.scale(), mean_keys(t), &mask, c.block_q, c.block_k);
  EXPECT_LE(rel_l2(fp8.out, exact.out), 0.12);
  EXPECT_LE(testing::max_difference(fp8.lse, exact.lse), 0.5);
}

TEST_P(Fp8Attend, CodesOfProbabilitiesStayWithinTheStatedBounds) {
  // What a kernel does: 64 keys at a time, a running maximum, l of the codes too.
  const Case c = GetParam();
  const Tensors t = c.tensors();
  constexpr double largest_code = 112;
  constexpr double code_of_one = 56;
  constexpr double unit_mean = 1.04068; // of codes over what they stand for
  const std::vector<float> kbar = mean_keys(t);
  const Tensors operands = fp8_operands(t, kbar, c.scale());
  const QuantizedValues values = quantize_values_fp8(t);
  const Attention expected = attend_fp8(t, c.scale(), kbar, nullptr);
  const std::vector<float> minus_along_mean = fp8_filter_thresholds(t, kbar, std::vector<float>(t.q_rows()));
  std::vector<float> out;
  std::vector<float> wanted;
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      const float scale = values.scales[std::size_t{1} * b * c.num_kv_heads + t.kv_head(h)];
      for (int i = 0; i < c.q_len; i += 7) {
        double max = -HUGE_VAL;
        double sum = 0;
        std::vector<double> row(c.head_dim);
        for (int first = 0; first <= t.position(i); first += 64) {
          const int last = std::min(first + 64, t.position(i) + 1);
          double next = max;
          for (int j = first; j < last; ++j) {
            next = std::max(next, testing::score(operands, b, h, i, j));
          }
          const double rescale = std::exp(c.scale() * (max - next));
          max = next;
          sum *= rescale;
          std::for_each(row.begin(), row.end(), [=](double &x) { x *= rescale; });
          for (int j = first; j < last; ++j) {
            const double steps =
                8 * std::numbers::log2e * c.scale() * (testing::score(operands, b, h, i, j) - max) + largest_code;
            const auto code_of_p = std::lround(std::max({steps, steps / 4 + 4.5, 0.0}));
            const double rounded = e4m3_to_float(static_cast<std::uint8_t>(code_of_p));
            sum += rounded;
            for (int d = 0; d < c.head_dim; ++d) {
              const auto code = static_cast<std::uint8_t>(values.codes[t.kv_row(b, t.kv_head(h), j) * c.head_dim + d]);
              row[d] += rounded * e4m3_to_float(code);
            }
          }
        }
        const double lse = std::log(sum / unit_mean) - (largest_code - code_of_one) / 8 * std::numbers::ln2 +
                           c.scale() * (max - minus_along_mean[t.q_row(b, h, i)]);
        EXPECT_NEAR(lse, expected.lse[t.q_row(b, h, i)], fp8_lse_bound);
        for (int d = 0; d < c.head_dim; ++d) {
          out.push_back(static_cast<float>(row[d] * scale / sum));
          wanted.push_back(expected.out[t.q_row(b, h, i) * c.head_dim + d]);
        }
      }
    }
  }
  EXPECT_LE(rel_l2(out, wanted), 4e-2);
  const float largest = std::fabs(
      *std::max_element(t.v.begin(), t.v.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
  EXPECT_LE(testing::max_difference(out, wanted), 0x1p-4 * largest);
  RecordProperty("relative_l2", std::to_string(rel_l2(out, wanted)));
}

TEST(Fp8AttendOf, OperandsThatE4m3HoldsIsExact) {
  // Small integers and no mean to subtract.
  const Case c{.head_dim = 64, .num_q_heads = 3, .q_len = 100, .kv_len = 150};
  Tensors t = c.tensors();
  for (std::vector<float> *values : {&t.q, &t.k, &t.v}) {
    for (std::size_t i = 0; i < values->size(); ++i) {
      (*values)[i] = static_cast<float>(static_cast<int>(i * 37 % 13) - 6);
    }
  }
  const std::vector<float> zero(64);
  const float scale = 0.043321699F; // times log2(e) 1/16: no mantissa for the codes of Q to hold
  const Attention fp8 = attend_fp8(t, scale, zero, nullptr);
  const Attention exact = attend(t, scale, nullptr);
  EXPECT_EQ(fp8.out, exact.out);
  EXPECT_EQ(fp8.lse, exact.lse);
}

TEST(Fp8AttendOf, AShiftOfAllKeysMovesLseAlone) {
  const Case c{.head_dim = 64, .num_q_heads = 2, .q_len = 100, .kv_len = 150};
  Tensors t = c.tensors();
  for (float &x : t.k) {
    x = std::rint(x * 32.0F) / 32.0F; // so that adding 2 is exact
  }
  Tensors shifted = t;
  std::for_each(shifted.k.begin(), shifted.k.end(), [](float &x) { x += 2.0F; });
  const std::vector<float> kbar(64, 0.25F);
  const std::vector<float> shifted_kbar(64, 2.25F);
  const Attention before = attend_fp8(t, c.scale(), kbar, nullptr);
  const Attention after = attend_fp8(shifted, c.scale(), shifted_kbar, nullptr);
  EXPECT_EQ(before.out, after.out);
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 100; ++i) {
      const float *q = t.query(0, h, i);
      double along = 0;
      std::for_each(q, q + 64, [&](float x) { along += 2.0 * x; });
      EXPECT_NEAR(after.lse[t.q_row(0, h, i)] - before.lse[t.q_row(0, h, i)], c.scale() * along, 1e-4);
    }
  }
}

TEST(Fp8AttendOf, RunSaleFiltersByItsOwnScores) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .block_k = 64, .q_len = 700, .kv_len = 1025};
  const Tensors t = c.tensors();
  Policy policy = c.policy(Estimator::int8, 0.05F);
  policy.fp8_attend = true;
  const std::vector<float> kbar = mean_keys(t);
  const Result plain = run_sale(c.problem(), policy, t);
  EXPECT_EQ(plain.out, attend_fp8(t, c.scale(), kbar, &plain.mask, 64, 64).out);
  policy.second_filter = true;
  const Result filtered = run_sale(c.problem(), policy, t);
  EXPECT_EQ(filtered.mask, plain.mask);
  const std::vector<float> threshold = thresholds(t, policy, c.scale()).value;
  const Mask exactly = second_filter(t, policy, &plain.mask, threshold);
  const Mask by_codes =
      second_filter(fp8_operands(t, kbar, c.scale()), policy, &plain.mask, fp8_filter_thresholds(t, kbar, threshold));
  const auto shared = static_cast<double>((exactly & by_codes).count());
  EXPECT_GE(shared, 0.97 * static_cast<double>(exactly.count()));
  EXPECT_GE(shared, 0.97 * static_cast<double>(by_codes.count()));
  const Attention expected = attend_fp8(t, c.scale(), kbar, &by_codes, 64, 32);
  EXPECT_EQ(filtered.out, expected.out);
  EXPECT_EQ(filtered.lse, expected.lse);
}

} // namespace
} // namespace sale::reference
