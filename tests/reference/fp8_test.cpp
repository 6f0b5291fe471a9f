// SPDX-License-Identifier: Apache-2.0
// fp8 estimates against section 12 of docs/numerics.md, written out pair by pair.
#include "reference/channels.hpp"
#include "reference/element.hpp"
#include "reference/float8.hpp"
#include "reference/linear.hpp"
#include "reference/means.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace sale::reference {
namespace {

using testing::Case;
using testing::for_each_block;

/// How a row is made smaller before it becomes codes.
enum class Reduction { none, energy, channels, projection, pruned };

struct Fp8Case {
  int head_dim;
  int estimate_dim;
  int num_q_heads;
  int num_kv_heads;
  int q_len;
  int kv_len;
  Reduction reduction;
  int block_q = 64;
  int block_k = 32;
  unsigned seed = 1;

  Problem problem() const {
    return Case{.head_dim = head_dim, .num_q_heads = num_q_heads, .num_kv_heads = num_kv_heads}.problem();
  }
  Shape shape() const { return {2, q_len, kv_len}; }
};

std::string name_of(const ::testing::TestParamInfo<Fp8Case> &info) {
  const Fp8Case &c = info.param;
  const char *reductions[] = {"none", "energy", "channels", "projection", "pruned"};
  return fmt::format("d{}_of{}_heads{}of{}_{}of{}_q{}_k{}_{}", c.estimate_dim, c.head_dim, c.num_q_heads,
                     c.num_kv_heads, c.q_len, c.kv_len, c.block_q, c.block_k,
                     reductions[static_cast<int>(c.reduction)]);
}

std::ostream &operator<<(std::ostream &stream, const Fp8Case &c) { return stream << c.estimate_dim; }

const Fp8Case fp8_cases[] = {
    {64, 0, 1, 1, 130, 330, Reduction::none, 64, 32, 11},
    {128, 0, 3, 1, 65, 257, Reduction::none, 64, 64, 12},
    {96, 32, 4, 1, 97, 311, Reduction::energy, 64, 32, 13},
    {128, 64, 8, 1, 70, 201, Reduction::energy, 64, 32, 14},
    {256, 96, 3, 3, 33, 490, Reduction::energy, 128, 128, 15},
    {64, 32, 6, 2, 200, 200, Reduction::channels, 64, 32, 16},
    {128, 96, 4, 1, 77, 333, Reduction::channels, 128, 64, 17},
    {64, 32, 3, 1, 90, 222, Reduction::projection, 64, 32, 18},
    {96, 0, 8, 2, 64, 161, Reduction::projection, 64, 32, 19},
    {64, 0, 4, 1, 111, 259, Reduction::pruned, 64, 32, 20},
    {128, 64, 6, 2, 65, 227, Reduction::pruned, 128, 32, 21},
};

/// Random data with outliers: rows and keys of zeros, tiny and huge ones.
Tensors random_tensors(const Fp8Case &c) {
  Tensors t = gaussian(c.problem(), c.shape(), {.seed = c.seed, .q_mean = 1.0F, .k_mean = 2.0F, .q_size = 2.0F});
  std::mt19937 random(c.seed);
  const auto scale_rows = [&](std::vector<float> &values) {
    for (std::size_t row = 0; row < values.size(); row += c.head_dim) {
      const float sizes[] = {0.0F, 0x1p-70F, 0x1p-10F, 8.0F};
      const auto choice = random() % 40;
      for (int d = 0; choice < 4 && d < c.head_dim; ++d) {
        values[row + d] *= sizes[choice];
      }
    }
  };
  scale_rows(t.q);
  scale_rows(t.k);
  return t;
}

Policy policy_of(const Fp8Case &c) {
  Policy policy;
  policy.estimator = Estimator::fp8;
  policy.block_q = c.block_q;
  policy.block_k = c.block_k;
  policy.sink = 20;
  policy.window = 10;
  for (int h = 0; h < c.num_q_heads; ++h) { // so that some blocks are kept and others not
    policy.tau_per_head.push_back(h % 2 == 0 ? 2.0F : 1000.0F);
  }
  policy.estimate_dim = c.estimate_dim;
  policy.prune_queries = c.reduction == Reduction::pruned;
  policy.shift_per_head.assign(c.num_q_heads, 0.25F);
  std::mt19937 random(c.seed + 1);
  if (c.reduction == Reduction::channels) {
    for (int g = 0; g < c.num_kv_heads; ++g) {
      std::vector<int> all(c.head_dim);
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), random);
      std::sort(all.begin(), all.begin() + c.estimate_dim);
      policy.channels.insert(policy.channels.end(), all.begin(), all.begin() + c.estimate_dim);
    }
  }
  if (c.reduction == Reduction::projection) {
    policy.projection.resize(std::size_t{2} * c.num_kv_heads * estimate_dim(policy, c.head_dim) * c.head_dim);
    std::normal_distribution<float> normal(0.0F, 0.125F);
    std::generate(policy.projection.begin(), policy.projection.end(), [&] { return normal(random); });
  }
  return policy;
}

/// The code whose value is nearest, of two equally near ones the even.
std::uint8_t nearest_code(double x) {
  const auto &values = e4m3_values();
  int best = -1;
  for (int code = 0; code < 127; ++code) {
    const double distance = std::fabs(values[code] - std::fabs(x));
    const double best_distance = best < 0 ? HUGE_VAL : std::fabs(values[best] - std::fabs(x));
    if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
      best = code;
    }
  }
  return static_cast<std::uint8_t>(best + (std::signbit(x) ? 128 : 0));
}

/// xk or xq with its clamps: `limit` less the smallest n with sqrt(n2) < 2^n.
int exponent_of(float n2, int limit, int low, int high) {
  if (n2 < 0x1p-126F) {
    return 0;
  }
  int n = -70;
  while (std::ldexp(1.0, 2 * n) <= n2) {
    ++n;
  }
  return std::clamp(limit - n, low, high);
}

/// The definitions, slowly.
class ByDefinition {
public:
  ByDefinition(const Tensors &tensors, const Policy &policy, const std::vector<float> &kbar)
      : t(tensors), policy_(policy), kbar_(kbar), dim_(estimate_dim(policy, tensors.head_dim)) {}

  std::vector<int> channels(int b, int g) const {
    std::vector<int> all(t.head_dim);
    std::iota(all.begin(), all.end(), 0);
    if (!policy_.channels.empty()) {
      return {policy_.channels.begin() + std::ptrdiff_t{1} * g * dim_,
              policy_.channels.begin() + std::ptrdiff_t{1} * (g + 1) * dim_};
    }
    if (dim_ == t.head_dim) {
      return all;
    }
    std::vector<std::pair<double, int>> energies; // least first, so negated
    for (const int d : all) {
      energies.emplace_back(-query_energy(b, g, d) * key_energy(b, g, d), d);
    }
    std::sort(energies.begin(), energies.end());
    std::vector<int> chosen;
    for (int n = 0; n < dim_; ++n) {
      chosen.push_back(energies[n].second);
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  std::vector<float> key_row(int b, int g, int j) const {
    std::vector<float> row(t.head_dim);
    for (int d = 0; d < t.head_dim; ++d) {
      row[d] = t.key(b, g, j)[d] - mean(b, g)[d];
    }
    return reduced(row, b, g, 1);
  }

  std::vector<float> query_row(int b, int h, int i) const {
    const int g = t.kv_head(h);
    const float *q = t.query(b, h, i);
    std::vector<float> row = reduced({q, q + t.head_dim}, b, g, 0);
    if (!policy_.prune_queries) {
      return row;
    }
    const std::vector<int> c = channels(b, g);
    std::vector<float> sizes;
    for (int n = 0; n < dim_; ++n) {
      sizes.push_back(std::fabs(row[n]) * static_cast<float>(std::sqrt(key_energy(b, g, c[n]))));
    }
    std::vector<float> kept(dim_);
    for (int n = 0; n < dim_; ++n) {
      int better = 0;
      for (int other = n / 4 * 4; other < n / 4 * 4 + 4; ++other) {
        better += sizes[other] > sizes[n] || (sizes[other] == sizes[n] && other < n) ? 1 : 0;
      }
      kept[n] = better < 2 ? row[n] : 0.0F;
    }
    return kept;
  }

  int key_exponent(int b, int g, int group) const {
    float norm = 0;
    for (int j = group * 32; j < std::min(group * 32 + 32, t.shape.kv_len); ++j) {
      norm = std::max(norm, norm_of(key_row(b, g, j)));
    }
    return exponent_of(norm, 8, -14, 15);
  }
  int query_exponent(int b, int h, int i) const { return exponent_of(norm_of(query_row(b, h, i)), 7, -100, 100); }

  static float norm_of(const std::vector<float> &row) {
    return canonical_dot(row.data(), row.data(), static_cast<int>(row.size()));
  }

  const float *mean(int b, int g) const {
    return kbar_.data() + (std::ptrdiff_t{1} * b * t.num_kv_heads + g) * t.head_dim;
  }

  const Tensors &t;

private:
  std::vector<float> reduced(const std::vector<float> &row, int b, int g, int which) const {
    std::vector<float> result(dim_);
    const std::vector<int> c = policy_.projection.empty() ? channels(b, g) : std::vector<int>(dim_);
    for (int n = 0; n < dim_; ++n) {
      if (policy_.projection.empty()) {
        result[n] = row[c[n]];
        continue;
      }
      for (int d = 0; d < t.head_dim; ++d) {
        const std::size_t at = ((std::size_t{2} * g + which) * dim_ + n) * t.head_dim + d;
        result[n] = std::fma(policy_.projection[at], row[d], result[n]);
      }
    }
    return result;
  }

  double query_energy(int b, int g, int d) const {
    double sum = 0;
    for (int h = 0; h < t.num_q_heads; ++h) {
      for (int i = 0; t.kv_head(h) == g && i < t.shape.q_len; i += 8) {
        sum += std::pow(static_cast<double>(t.query(b, h, i)[d]), 2);
      }
    }
    return sum;
  }
  double key_energy(int b, int g, int d) const {
    double sum = 0;
    for (int j = 0; j < t.shape.kv_len; j += 8) {
      const float smoothed = t.key(b, g, j)[d] - mean(b, g)[d];
      sum += std::pow(static_cast<double>(smoothed), 2);
    }
    return sum;
  }

  const Policy &policy_;
  const std::vector<float> &kbar_;
  int dim_;
};

class Fp8 : public ::testing::TestWithParam<Fp8Case> {
protected:
  const Fp8Case c = GetParam();
  const Tensors t = random_tensors(c);
  const Policy policy = policy_of(c);
  const float scale = effective_softmax_scale(c.problem());
  const std::vector<float> kbar = mean_keys(t);
  const std::vector<float> threshold = thresholds(t, policy, scale).value;
  const Estimates estimates = prepare_estimates(t, policy, scale, kbar, {}, threshold);
  const ByDefinition definition{t, policy, kbar};
  const int dim = estimate_dim(policy, c.head_dim);
};
INSTANTIATE_TEST_SUITE_P(Random, Fp8, ::testing::ValuesIn(fp8_cases), name_of);

TEST_P(Fp8, ThePolicyIsValid) { EXPECT_NO_THROW(validate(policy, c.problem())); }

TEST_P(Fp8, CodesAndScalesOfKeysAreTheDefinition) {
  ASSERT_EQ(estimates.keys.codes.size(), t.kv_rows() * dim);
  for (int b = 0; b < 2; ++b) {
    for (int g = 0; g < c.num_kv_heads; ++g) {
      for (int j = 0; j < c.kv_len; ++j) {
        const int exponent = definition.key_exponent(b, g, j / 32);
        ASSERT_EQ(estimates.keys.scales[estimates.keys.group(t, b, g, j)], std::ldexp(1.0, exponent)) << j;
        const std::vector<float> row = definition.key_row(b, g, j);
        double norm = 0;
        for (int n = 0; n < dim; ++n) {
          const auto code = static_cast<std::uint8_t>(estimates.keys.codes[t.kv_row(b, g, j) * dim + n]);
          ASSERT_EQ(code, nearest_code(std::ldexp(row[n], exponent))) << "key " << j << " entry " << n;
          norm += std::pow(e4m3_to_float(code), 2);
        }
        ASSERT_LT(std::sqrt(norm), 256 * 1.0625);
      }
    }
  }
}

TEST_P(Fp8, CodesScalesAndThresholdsOfQueriesAreTheDefinition) {
  ASSERT_EQ(estimates.queries.codes.size(), t.q_rows() * dim);
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < c.num_q_heads; ++h) {
      for (int i = 0; i < c.q_len; ++i) {
        const std::size_t row = t.q_row(b, h, i);
        const int exponent = definition.query_exponent(b, h, i);
        ASSERT_EQ(estimates.queries.scales[row], std::ldexp(1.0, -exponent));
        const std::vector<float> entries = definition.query_row(b, h, i);
        double norm = 0;
        for (int n = 0; n < dim; ++n) {
          const auto code = static_cast<std::uint8_t>(estimates.queries.codes[row * dim + n]);
          ASSERT_EQ(code, nearest_code(std::ldexp(entries[n], exponent))) << "row " << i << " entry " << n;
          norm += std::pow(e4m3_to_float(code), 2);
        }
        ASSERT_LT(std::sqrt(norm), 128 * 1.0625);
        const float along = canonical_dot(t.query(b, h, i), definition.mean(b, t.kv_head(h)), c.head_dim);
        const float n = (threshold[row] - along) - 0.25F / scale;
        ASSERT_EQ(estimates.rows.offset[row], n);
        ASSERT_EQ(estimates.rows.theta[row], std::ldexp(n, exponent));
        ASSERT_LE(estimates.rows.theta16[row], estimates.rows.theta[row]);
        ASSERT_EQ(estimates.rows.theta16[row], f16_to_float(float_to_f16(estimates.rows.theta16[row])));
      }
    }
  }
}

TEST_P(Fp8, TheMaskIsTheDefinitionPairByPair) {
  const Mask mask = select(t, policy, estimates);
  const Margins margins = fp8_sum_margins(t, policy, estimates);
  const Margins products = estimate_margins(t, policy, estimates);
  int kept = 0;
  int dropped = 0;
  for_each_block(policy, t.shape, c.num_q_heads, [&](int b, int h, int m, int j, const Region &region) {
    if (!region.estimated(j)) {
      ASSERT_EQ(mask.test(b, h, m, j), region.in_reference(j));
      return;
    }
    const int g = t.kv_head(h);
    double largest = -HUGE_VAL;
    double largest_product = -HUGE_VAL;
    for (int i = m * c.block_q; i < std::min((m + 1) * c.block_q, c.q_len); ++i) {
      const std::size_t row = t.q_row(b, h, i);
      for (int key = j * c.block_k; key < (j + 1) * c.block_k; ++key) {
        double sum = 0;
        for (int n = 0; n < dim; ++n) {
          sum += static_cast<double>(e4m3_to_float(static_cast<std::uint8_t>(estimates.queries.codes[row * dim + n]))) *
                 e4m3_to_float(static_cast<std::uint8_t>(estimates.keys.codes[t.kv_row(b, g, key) * dim + n]));
        }
        const double key_scale = estimates.keys.scales[estimates.keys.group(t, b, g, key)];
        const double difference = sum - estimates.rows.theta16[row] * key_scale;
        ASSERT_LT(std::fabs(sum), 0x1p15 * 1.13);
        largest = std::max(largest, difference);
        largest_product = std::max(largest_product, difference * estimates.queries.scales[row] / key_scale);
      }
    }
    ASSERT_EQ(mask.test(b, h, m, j), largest >= 0) << "head " << h << " blocks " << m << " and " << j;
    ASSERT_DOUBLE_EQ(margins.at(b, h, m, j), largest);
    ASSERT_DOUBLE_EQ(products.at(b, h, m, j), largest_product);
    (largest >= 0 ? kept : dropped) += 1;
  });
  EXPECT_GT(kept, 0);
  EXPECT_GT(dropped, 0);
}

TEST_P(Fp8, RunSaleGivesTheSameMask) { EXPECT_EQ(run_sale(c.problem(), policy, t).mask, select(t, policy, estimates)); }

TEST_P(Fp8, TheEstimateIsCloseToTheProduct) {
  if (dim != c.head_dim || c.reduction != Reduction::none) {
    return; // what is left out has no bound
  }
  for (int i = 0; i < c.q_len; i += 7) {
    for (int j = 0; j < c.kv_len; j += 5) {
      double estimate = 0;
      double size = 0;
      double product = 0;
      for (int d = 0; d < dim; ++d) {
        const double q = e4m3_to_float(static_cast<std::uint8_t>(estimates.queries.codes[t.q_row(0, 0, i) * dim + d]));
        const double k = e4m3_to_float(static_cast<std::uint8_t>(estimates.keys.codes[t.kv_row(0, 0, j) * dim + d]));
        const double smoothed = t.key(0, 0, j)[d] - kbar[d];
        estimate += q * k;
        size += std::fabs(t.query(0, 0, i)[d] * smoothed);
        product += t.query(0, 0, i)[d] * smoothed;
      }
      const double unit = estimates.queries.scales[t.q_row(0, 0, i)] / estimates.keys.scales[j / 32];
      // Half a step of each factor, relative or, below 2^-6, absolute.
      const double tiny = unit * dim * (0x1p-10 * 128 + 0x1p-10 * 256);
      ASSERT_NEAR(estimate * unit, product, size * (0x1p-3 + 0x1p-8) + tiny);
    }
  }
}

} // namespace
} // namespace sale::reference
