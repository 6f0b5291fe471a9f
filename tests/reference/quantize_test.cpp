// SPDX-License-Identifier: Apache-2.0
#include "reference/quantize.hpp"

#include "reference/linear.hpp"
#include "reference/means.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference {
namespace {

using testing::Case;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

TEST(CanonicalDot, AddsEightPartialSumsInTheOrderOfTheButterfly) {
  for (const int dim : {64, 96, 128, 256}) {
    const Tensors t = gaussian(Case{.head_dim = dim, .num_q_heads = 1}.problem(), {1, 1, 1});
    float p[8] = {};
    for (int chunk = 0; chunk < dim / 8; ++chunk) {
      for (int d = 8 * chunk; d < 8 * chunk + 8; ++d) {
        p[chunk % 8] = std::fma(t.q[d], t.k[d], p[chunk % 8]);
      }
    }
    for (const int stride : {4, 2, 1}) { // what eight lanes that exchange by xor compute
      float next[8];
      for (int lane = 0; lane < 8; ++lane) {
        next[lane] = p[lane & ~stride] + p[lane | stride];
      }
      std::copy(next, next + 8, p);
    }
    EXPECT_EQ(canonical_dot(t.q.data(), t.k.data(), dim), p[0]);
  }
}

TEST(CanonicalDot, FusesMultiplyAndAdd) {
  // (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 exactly, and 0 if the product is rounded first.
  std::vector<float> a(8);
  std::vector<float> b(8);
  a[0] = -(1.0F + 0x1p-11F);
  b[0] = 1.0F;
  a[1] = b[1] = 1.0F + 0x1p-12F;
  EXPECT_EQ(canonical_dot(a.data(), b.data(), 8), 0x1p-24F);
}

/// Checks codes against the definition, element by element, for the group of rows that `same_group` picks.
void expect_group(const std::vector<std::vector<float>> &rows, const std::vector<const std::int8_t *> &codes,
                  float scale, float limit) {
  float amax = 0.0F;
  for (const auto &row : rows) {
    for (const float x : row) {
      amax = std::max(amax, std::fabs(x));
    }
  }
  ASSERT_EQ(scale, amax / limit);
  const float reciprocal = limit / amax;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t d = 0; d < rows[r].size(); ++d) {
      ASSERT_EQ(codes[r][d], static_cast<int>(std::rint(rows[r][d] * reciprocal)));
    }
  }
}

TEST(Quantize, KeyGroupsAre32KeysForInt8AndFourInterleavedSetsOfEightForInt4) {
  const Case c{.head_dim = 64, .num_q_heads = 3, .num_kv_heads = 3, .q_len = 77, .kv_len = 77, .batch = 2};
  const Tensors t = gaussian(c.problem(), c.shape(), {.k_mean = 2.0F});
  const std::vector<float> kbar = mean_keys(t);
  const std::vector<float> qbar = mean_queries(t);
  const QuantizedKeys int8 = quantize_keys(t, Estimator::int8, kbar, qbar);
  const QuantizedKeys int4 = quantize_keys(t, Estimator::int4, kbar, qbar);
  ASSERT_EQ(int8.scales.size(), 2U * 3 * 3);
  ASSERT_EQ(int4.scales.size(), 2U * 3 * 3 * 4);
  for (int b = 0; b < 2; ++b) {
    for (int g = 0; g < 3; ++g) {
      for (int block = 0; block < 3; ++block) {
        std::vector<std::vector<float>> rows[5]; // four int4 groups, then all
        std::vector<const std::int8_t *> codes[5];
        for (int j = 32 * block; j < std::min(77, 32 * block + 32); ++j) {
          std::vector<float> row(t.key(b, g, j), t.key(b, g, j) + 64);
          for (int d = 0; d < 64; ++d) {
            row[d] -= kbar[(b * 3 + g) * 64 + d];
          }
          const int group = (j % 8) / 2;
          rows[group].push_back(row);
          rows[4].push_back(row);
          codes[group].push_back(int4.codes.data() + t.kv_row(b, g, j) * 64);
          codes[4].push_back(int8.codes.data() + t.kv_row(b, g, j) * 64);
        }
        const int first = (b * 3 + g) * 3 + block;
        expect_group(rows[4], codes[4], int8.scales[first], 127.0F);
        for (int group = 0; group < 4; ++group) {
          expect_group(rows[group], codes[group], int4.scales[first * 4 + group], 7.0F);
        }
      }
    }
  }
}

TEST(Quantize, QueryGroupsAreOneRowForInt8AndRowsEightApartOfASlabForInt4) {
  const Case c{.head_dim = 96, .num_q_heads = 2, .q_len = 45, .kv_len = 45};
  const Tensors t = gaussian(c.problem(), c.shape(), {.q_mean = 2.0F});
  const std::vector<float> qbar = mean_queries(t);
  const QuantizedQueries int8 = quantize_queries(t, Estimator::int8, qbar);
  const QuantizedQueries int4 = quantize_queries(t, Estimator::int4, qbar);
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 45; ++i) {
      const std::size_t row = t.q_row(0, h, i);
      expect_group({{t.query(0, h, i), t.query(0, h, i) + 96}}, {int8.codes.data() + row * 96}, int8.scales[row],
                   127.0F);
      std::vector<std::vector<float>> rows;
      std::vector<const std::int8_t *> codes;
      for (int other = i / 16 * 16; other < std::min(45, i / 16 * 16 + 16); ++other) {
        if (other % 8 == i % 8) {
          rows.emplace_back(t.query(0, h, other), t.query(0, h, other) + 96);
          for (int d = 0; d < 96; ++d) {
            rows.back()[d] -= qbar[h * 96 + d];
          }
          codes.push_back(int4.codes.data() + t.q_row(0, h, other) * 96);
        }
      }
      expect_group(rows, codes, int4.scales[row], 7.0F);
    }
  }
}

TEST(Quantize, TheInt4BiasIsTheDotWithQbarInUnitsOfTheKeyScale) {
  const Case c{.num_q_heads = 3, .q_len = 20, .kv_len = 50};
  const Tensors t = gaussian(c.problem(), c.shape(), {.q_mean = 1.0F});
  const std::vector<float> kbar = mean_keys(t);
  const std::vector<float> qbar = mean_queries(t);
  const QuantizedKeys keys = quantize_keys(t, Estimator::int4, kbar, qbar);
  for (int h = 0; h < 3; ++h) {
    for (int j = 0; j < 50; ++j) {
      std::vector<float> row(t.key(0, 0, j), t.key(0, 0, j) + 64);
      for (int d = 0; d < 64; ++d) {
        row[d] -= kbar[d];
      }
      const float dot = canonical_dot(qbar.data() + std::ptrdiff_t{64} * h, row.data(), 64);
      EXPECT_EQ(keys.bias[h * 50 + j], dot / keys.scales[j / 32 * 4 + (j % 8) / 2]);
    }
  }
}

TEST(Quantize, RoundsTiesToEven) {
  Tensors t = make_tensors(Case{.num_q_heads = 1, .q_len = 1, .kv_len = 1}.problem(), {1, 1, 1});
  t.q[0] = 127.0F;
  t.q[1] = 0.5F;
  t.q[2] = 1.5F;
  t.q[3] = -2.5F;
  const QuantizedQueries queries = quantize_queries(t, Estimator::int8, {});
  EXPECT_EQ(queries.codes[0], 127);
  EXPECT_EQ(queries.codes[1], 0);
  EXPECT_EQ(queries.codes[2], 2);
  EXPECT_EQ(queries.codes[3], -2);
}

TEST(Quantize, ZeroRowsHaveScaleZeroAndNanGoesToScaleAndCodeZero) {
  Tensors t = make_tensors(Case{.num_q_heads = 1, .q_len = 2, .kv_len = 2}.problem(), {1, 2, 2});
  t.q[64] = 1.0F;
  t.q[65] = nan_value;
  const QuantizedQueries queries = quantize_queries(t, Estimator::int8, {});
  EXPECT_EQ(queries.scales[0], 0.0F);
  EXPECT_EQ(queries.codes[0], 0);
  EXPECT_TRUE(std::isnan(queries.scales[1]));
  EXPECT_EQ(queries.codes[64], 0);
  EXPECT_EQ(queries.codes[65], 0);
}

TEST(Quantize, NothingIsQuantizedForExact) {
  const Tensors t = Case{.q_len = 5, .kv_len = 5}.tensors();
  EXPECT_TRUE(quantize_keys(t, Estimator::exact, {}, {}).codes.empty());
  EXPECT_TRUE(quantize_queries(t, Estimator::exact, {}).codes.empty());
}

TEST(Quantize, P7bAddingAConstantToAllQueriesLeavesTheInt4CodesUnchanged) {
  // On a coarse grid and with a power of two of rows, means and differences are exact.
  const Case c{.num_q_heads = 3, .q_len = 64, .kv_len = 64};
  Tensors t = gaussian(c.problem(), c.shape());
  for (float &x : t.q) {
    x = std::rint(x * 16.0F) / 16.0F;
  }
  const QuantizedQueries before = quantize_queries(t, Estimator::int4, mean_queries(t));
  const QuantizedQueries int8_before = quantize_queries(t, Estimator::int8, {});
  for (std::size_t i = 0; i < t.q.size(); ++i) {
    t.q[i] += static_cast<float>(i % 64) * 0.25F;
  }
  const QuantizedQueries after = quantize_queries(t, Estimator::int4, mean_queries(t));
  EXPECT_EQ(after.codes, before.codes);
  EXPECT_EQ(after.scales, before.scales);
  EXPECT_NE(quantize_queries(t, Estimator::int8, {}).codes, int8_before.codes) << "int8 does not smooth Q";
}

TEST(Means, AreTheAveragesOfEachHead) {
  const Case c{.num_q_heads = 6, .num_kv_heads = 2, .q_len = 33, .kv_len = 71, .batch = 2};
  const Tensors t = gaussian(c.problem(), c.shape(), {.q_mean = 1.0F, .k_mean = 3.0F});
  const std::vector<float> kbar = mean_keys(t);
  const std::vector<float> qbar = mean_queries(t);
  ASSERT_EQ(kbar.size(), 2U * 2 * 64);
  ASSERT_EQ(qbar.size(), 2U * 6 * 64);
  double k_sum = 0;
  for (int j = 0; j < 71; ++j) {
    k_sum += t.key(1, 1, j)[5];
  }
  double q_sum = 0;
  for (int i = 0; i < 33; ++i) {
    q_sum += t.query(1, 4, i)[63];
  }
  EXPECT_EQ(kbar[(1 * 2 + 1) * 64 + 5], static_cast<float>(k_sum / 71));
  EXPECT_EQ(qbar[(1 * 6 + 4) * 64 + 63], static_cast<float>(q_sum / 33));
}

} // namespace
} // namespace sale::reference
