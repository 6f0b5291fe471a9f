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
#include <limits>
#include <numeric>
#include <random>

namespace sale::reference {
namespace {

using testing::Case;
using testing::for_each_block;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

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

TEST(Fp8Theta, IsRoundedDownToF16) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> exponents(-30.0F, 18.0F);
  for (int n = 0; n < 20000; ++n) {
    const float value = std::exp2(exponents(random)) * (random() % 2 == 0 ? 1.0F : -1.0F);
    const std::uint16_t bits = float_to_f16_down(value);
    const float down = f16_to_float(bits);
    ASSERT_LE(down, value);
    if (down < 65504.0F) { // the next above
      const auto above = static_cast<std::uint16_t>(down < 0.0F ? bits - 1 : bits + 1);
      ASSERT_GT(f16_to_float(above), value) << value;
    }
  }
  for (const float exact : {0.0F, 1.0F, -1.0F, 65504.0F, -65504.0F, 0x1p-24F, -0x1p-24F, inf, -inf}) {
    EXPECT_EQ(f16_to_float(float_to_f16_down(exact)), exact);
  }
  EXPECT_EQ(f16_to_float(float_to_f16_down(65519.0F)), 65504.0F);
  EXPECT_EQ(f16_to_float(float_to_f16_down(1e30F)), 65504.0F);
  EXPECT_EQ(f16_to_float(float_to_f16_down(-65505.0F)), -inf);
  EXPECT_EQ(f16_to_float(float_to_f16_down(-1e-9F)), -0x1p-24F);
  EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16_down(nan_value))));
}

/// One head; every block but R's is dropped unless something makes it kept.
struct Alone {
  Case c{.num_q_heads = 1, .q_len = 640, .kv_len = 640};
  Policy policy = c.policy(Estimator::fp8, 1e9F);
  Tensors t = c.tensors();
  std::vector<float> kbar = mean_keys(t);
  std::vector<float> threshold = thresholds(t, policy, c.scale()).value;

  Mask mask() const { return select(t, policy, c.scale(), kbar, {}, threshold); }
  int kept_estimated(int m) const {
    const Region region = region_of(policy, t.shape, m);
    const Mask all = mask();
    int kept = 0;
    for (int j = region.first_estimated; j < region.end_estimated; ++j) {
      kept += all.test(0, 0, m, j) ? 1 : 0;
    }
    return kept;
  }
  int estimated(int m) const {
    const Region region = region_of(policy, t.shape, m);
    return region.end_estimated - region.first_estimated;
  }
};

TEST(Fp8Select, NanAndInfinityOfAKeyKeepItsGroupOnly) {
  for (const float bad : {nan_value, inf, -inf, 1e30F, 0x1p22F}) {
    Alone alone;
    alone.t.k[alone.t.kv_row(0, 0, 100) * 64 + 3] = bad;
    EXPECT_TRUE(alone.mask().test(0, 0, 9, 3)) << bad;
    EXPECT_EQ(alone.kept_estimated(9), 1) << bad;
  }
}

TEST(Fp8Select, NanAndInfinityOfAQueryKeepEveryBlockOfItsQueryBlock) {
  for (const float bad : {nan_value, inf, -inf, 1e30F}) {
    Alone alone;
    alone.t.q[alone.t.q_row(0, 0, 600) * 64 + 5] = bad;
    EXPECT_EQ(alone.kept_estimated(9), alone.estimated(9)) << bad;
    EXPECT_EQ(alone.kept_estimated(8), 0) << bad;
  }
}

TEST(Fp8Select, EqualityKeeps) {
  // Zero queries estimate 0 for every key.
  Alone alone;
  std::fill(alone.t.q.begin(), alone.t.q.end(), 0.0F);
  for (const auto &[threshold, keeps] : {std::pair{-1.0F, true}, {0.0F, true}, {0x1p-20F, false}, {1.0F, false}}) {
    alone.threshold.assign(640, threshold);
    EXPECT_EQ(alone.kept_estimated(9), keeps ? alone.estimated(9) : 0) << threshold;
  }
  // Thresholds below the least f16 round to 0: that only over-selects.
  alone.threshold.assign(640, 0x1p-30F);
  EXPECT_EQ(alone.kept_estimated(9), alone.estimated(9));
}

TEST(Fp8Select, OneHugeKeyDoesNotHideTheOthersOfItsGroup) {
  // It sets its group's scale, 2^9 times less than the others need: they keep three bits down to 2^-14 of it.
  Alone alone;
  alone.policy.tau = 0.05F;
  alone.threshold = thresholds(alone.t, alone.policy, alone.c.scale()).value;
  const int needle = needle_key(alone.c.shape());
  const int neighbour = needle % 32 == 0 ? needle + 1 : needle - 1;
  float *keys = alone.t.k.data();
  for (int d = 0; d < 64; ++d) { // away from the queries
    keys[neighbour * 64 + d] = -1000.0F * alone.t.query(0, 0, 639)[d];
  }
  EXPECT_TRUE(alone.mask().test(0, 0, 9, needle / 32));
  std::copy_n(keys + 64 * (needle - 2), 64, keys + 64 * needle);
  EXPECT_FALSE(alone.mask().test(0, 0, 9, needle / 32)) << "it is the needle that keeps the block";
}

TEST(Fp8Select, ThePlantedNeedleIsKeptByHalfOfTheChannels) {
  const Case c{.head_dim = 128, .num_q_heads = 4, .num_kv_heads = 2, .q_len = 1000, .kv_len = 1000};
  const Tensors t = c.tensors();
  for (const bool pruned : {false, true}) {
    Policy policy = c.policy(Estimator::fp8, 0.02F);
    policy.estimate_dim = 64;
    policy.prune_queries = pruned;
    policy.shift_per_head.assign(4, 1.0F);
    const Mask mask = testing::mask_of(t, policy, c.scale());
    for (int h = 0; h < 4; ++h) {
      EXPECT_TRUE(mask.test(0, h, 999 / 64, needle_key(c.shape()) / 32)) << "head " << h << " pruned " << pruned;
    }
    EXPECT_LT(mask.count(), testing::visible_mask(policy, c.shape(), 4).count() * 3 / 4);
  }
}

TEST(Fp8Channels, TiesGoToTheLowerIndexAndNanIsTheLargest) {
  const Case c{.head_dim = 64, .num_q_heads = 2, .q_len = 40, .kv_len = 40};
  Tensors t = make_tensors(c.problem(), c.shape());
  std::fill(t.q.begin(), t.q.end(), 1.0F);
  std::fill(t.k.begin(), t.k.end(), 1.0F);
  Policy policy = c.policy(Estimator::fp8);
  policy.estimate_dim = 32;
  const std::vector<float> kbar(64);
  std::vector<int> expected(32);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
  t.k[8 * 64 + 50] = 2.0F; // more energy
  t.k[9 * 64 + 51] = 2.0F; // not sampled
  expected.back() = 50;
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
  t.q[16 * 64 + 63] = nan_value;
  expected[30] = 50;
  expected[31] = 63;
  EXPECT_EQ(choose_channels(t, policy, kbar).index, expected);
}

TEST(Fp8Channels, AreOfTheBatchElementAndTheGroupOfQueryHeads) {
  const Case c{.head_dim = 64, .num_q_heads = 4, .num_kv_heads = 2, .q_len = 33, .kv_len = 50, .batch = 2};
  Tensors t = gaussian(c.problem(), c.shape());
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      t.q[t.q_row(b, h, 32) * 64 + b * 10 + h] = 1000.0F; // row 32 is sampled
    }
  }
  Policy policy = c.policy(Estimator::fp8);
  policy.estimate_dim = 32;
  const Channels channels = choose_channels(t, policy, mean_keys(t));
  ASSERT_EQ(channels.index.size(), 2U * 2 * 32);
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 4; ++h) {
      const auto first = channels.index.begin() + (b * 2 + h / 2) * 32;
      EXPECT_TRUE(std::binary_search(first, first + 32, b * 10 + h));
    }
  }
}

TEST(Fp8Prune, KeepsTheTwoLargestOfFourByWeightTiesToTheFirst) {
  const Case c{.head_dim = 64, .num_q_heads = 1, .q_len = 1, .kv_len = 1};
  Tensors t = make_tensors(c.problem(), c.shape());
  Policy policy = c.policy(Estimator::fp8);
  policy.prune_queries = true;
  Channels channels;
  channels.index.resize(64);
  std::iota(channels.index.begin(), channels.index.end(), 0);
  channels.weights.assign(64, 1.0F);
  const auto kept = [&](std::vector<float> four, std::vector<float> weights) {
    std::copy(four.begin(), four.end(), t.q.begin() + 4);
    std::copy(weights.begin(), weights.end(), channels.weights.begin() + 4);
    const QuantizedQueries queries = quantize_queries_fp8(t, policy, channels);
    std::vector<int> indices;
    for (int n = 0; n < 4; ++n) {
      if (queries.codes[4 + n] != 0) {
        indices.push_back(n);
      }
    }
    return indices;
  };
  EXPECT_EQ(kept({1, -4, 3, 2}, {1, 1, 1, 1}), (std::vector{1, 2}));
  EXPECT_EQ(kept({1, -4, 3, 2}, {9, 1, 1, 1}), (std::vector{0, 1}));
  EXPECT_EQ(kept({2, 2, -2, 2}, {1, 1, 1, 1}), (std::vector{0, 1}));
  EXPECT_EQ(kept({2, 1, -2, 2}, {1, 1, 1, 1}), (std::vector{0, 2}));
  EXPECT_EQ(kept({1, 2, 3, nan_value}, {1, 1, 1, 1}), (std::vector{3})) << "what is finite vanishes beside it";
  EXPECT_EQ(kept({1, 2, 0, 0}, {0, 0, 1, 1}), (std::vector{0, 1})) << "ties at 0";
}

TEST(Fp8Projection, TheIdentityIsNoProjectionAndARestrictionIsChannels) {
  const Case c{.head_dim = 64, .num_q_heads = 6, .num_kv_heads = 2, .q_len = 200, .kv_len = 500};
  const Tensors t = c.tensors();
  Policy by_channels = c.policy(Estimator::fp8);
  by_channels.estimate_dim = 32;
  const std::vector<float> kbar = mean_keys(t);
  by_channels.channels = choose_channels(t, by_channels, kbar).index;
  Policy by_projection = by_channels;
  by_projection.channels.clear();
  by_projection.projection.resize(std::size_t{2} * 2 * 32 * 64);
  Policy identity = c.policy(Estimator::fp8);
  identity.projection.resize(std::size_t{2} * 2 * 64 * 64);
  for (int g = 0; g < 2; ++g) {
    for (int which = 0; which < 2; ++which) {
      for (int n = 0; n < 64; ++n) {
        identity.projection[((g * 2 + which) * 64 + n) * 64 + n] = 1.0F;
        if (n < 32) {
          by_projection.projection[((g * 2 + which) * 32 + n) * 64 + by_channels.channels[g * 32 + n]] = 1.0F;
        }
      }
    }
  }
  EXPECT_EQ(testing::mask_of(t, by_projection, c.scale()), testing::mask_of(t, by_channels, c.scale()));
  EXPECT_EQ(testing::mask_of(t, identity, c.scale()), testing::mask_of(t, c.policy(Estimator::fp8), c.scale()));
  EXPECT_NE(testing::mask_of(t, by_channels, c.scale()), testing::mask_of(t, c.policy(Estimator::fp8), c.scale()));
}

} // namespace
} // namespace sale::reference
