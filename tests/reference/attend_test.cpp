// SPDX-License-Identifier: Apache-2.0
#include "reference/attend.hpp"

#include "reference/run.hpp"
#include "reference/synthetic.hpp"
#include "sale/error.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sale::reference {
namespace {

using testing::Case;
using testing::max_difference;

/// Attention by the definition, one row at a time.
Attention naive(const Tensors &t, float scale, const Mask *mask, const Policy &policy) {
  Attention result;
  for (int b = 0; b < t.shape.batch; ++b) {
    for (int h = 0; h < t.num_q_heads; ++h) {
      for (int i = 0; i < t.shape.q_len; ++i) {
        const std::vector<double> p = testing::probabilities(t, scale, mask, policy, b, h, i);
        std::vector<double> out(t.head_dim);
        for (int j = 0; j <= t.position(i); ++j) {
          for (int d = 0; d < t.head_dim; ++d) {
            out[d] += p[j] * t.value(b, t.kv_head(h), j)[d];
          }
        }
        result.out.insert(result.out.end(), out.begin(), out.end());
        const auto likeliest = std::max_element(p.begin(), p.end());
        result.lse.push_back(static_cast<float>(
            scale * testing::score(t, b, h, i, static_cast<int>(likeliest - p.begin())) - std::log(*likeliest)));
      }
    }
  }
  return result;
}

TEST(Attend, OfFewerChannelsOfVGivesThoseOfTheOutput) {
  Problem problem;
  problem.head_dim = 192;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  const Tensors all = structured(problem, {2, 33, 70}, 5);
  Tensors fewer = all;
  fewer.v_head_dim = 128;
  fewer.v.clear();
  for (std::size_t i = 0; i < all.v.size(); ++i) {
    if (i % 192 < 128) {
      fewer.v.push_back(all.v[i]);
    }
  }
  const Attention expected = run_dense(problem, all);
  problem.v_head_dim = 128;
  const Attention actual = run_dense(problem, fewer);
  EXPECT_EQ(actual.lse, expected.lse);
  ASSERT_EQ(actual.out.size(), all.q_rows() * 128);
  for (std::size_t i = 0; i < actual.out.size(); ++i) {
    ASSERT_EQ(actual.out[i], expected.out[i / 128 * 192 + i % 128]) << "element " << i;
  }
}

class AttendCases : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Lengths, AttendCases, ::testing::ValuesIn(testing::short_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });

TEST_P(AttendCases, P13DenseAttentionIsTheSoftmaxOverVisibleKeys) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Attention actual = run_dense(c.problem(), t);
  const Attention expected = naive(t, c.scale(), nullptr, c.policy());
  EXPECT_LE(max_difference(actual.out, expected.out), 1e-6);
  EXPECT_LE(max_difference(actual.lse, expected.lse), 1e-5);
}

TEST_P(AttendCases, P13AnyMaskGivesTheSoftmaxOverKeptVisibleKeys) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  const Policy policy = c.policy();
  Mask mask = testing::visible_mask(policy, c.shape(), c.num_q_heads);
  std::mt19937 random(3);
  testing::for_each_block(policy, c.shape(), c.num_q_heads, [&](int b, int h, int m, int j, const Region &) {
    // The first block is seen by every row, so no row is left with nothing.
    mask.set(b, h, m, j, j == 0 || random() % 2 == 0);
  });
  const Attention actual = attend(t, c.scale(), &mask, policy.block_q, policy.block_k);
  const Attention expected = naive(t, c.scale(), &mask, policy);
  EXPECT_LE(max_difference(actual.out, expected.out), 1e-6);
  EXPECT_LE(max_difference(actual.lse, expected.lse), 1e-5);
}

TEST(Attend, RowsThatSeeNothingGetZeroAndMinusInfinity) {
  const Case c{.num_q_heads = 1, .q_len = 100, .kv_len = 100};
  const Tensors t = c.tensors();
  Mask mask(c.shape(), 1, 64, 32);
  mask.set(0, 0, 0, 1); // rows 0..31 see none of keys 32..63; rows 64..99 keep nothing
  const Attention result = attend(t, c.scale(), &mask, 64, 32);
  constexpr std::ptrdiff_t dim = 64;
  for (int i = 0; i < 100; ++i) {
    const bool sees = i >= 32 && i < 64;
    EXPECT_EQ(std::isfinite(result.lse[i]), sees) << i;
    EXPECT_EQ(std::any_of(result.out.begin() + i * dim, result.out.begin() + (i + 1) * dim,
                          [](float x) { return x != 0.0F; }),
              sees)
        << i;
  }
  EXPECT_EQ(result.lse[0], -std::numeric_limits<float>::infinity());
}

TEST(Attend, P3PermutingKeptBlocksDoesNotChangeTheOutput) {
  const Case c{.q_len = 40, .kv_len = 500};
  Tensors t = c.tensors();
  const Policy policy = c.policy(Estimator::exact, 0.01F);
  const Mask mask = testing::visible_mask(policy, c.shape(), c.num_q_heads);
  const Attention before = attend(t, c.scale(), &mask, policy.block_q, policy.block_k);
  constexpr std::ptrdiff_t block = std::ptrdiff_t{32} * 64;
  for (std::vector<float> *values : {&t.k, &t.v}) { // every row sees blocks 1 and 9 whole
    std::swap_ranges(values->begin() + block, values->begin() + 2 * block, values->begin() + 9 * block);
  }
  const Attention after = attend(t, c.scale(), &mask, policy.block_q, policy.block_k);
  EXPECT_LE(max_difference(before.out, after.out), 1e-6);
  EXPECT_LE(max_difference(before.lse, after.lse), 1e-6);
}

TEST(Attend, BlockSizesOfTheDenseWalkDoNotMatter) {
  const Case c{.q_len = 333, .kv_len = 700};
  const Tensors t = c.tensors();
  const Attention a = attend(t, c.scale(), nullptr, 64, 32);
  const Attention b = attend(t, c.scale(), nullptr, 128, 128);
  EXPECT_LE(max_difference(a.out, b.out), 1e-6);
  EXPECT_LE(max_difference(a.lse, b.lse), 1e-6);
}

TEST(Attend, ScaleIsAppliedOnceToLogits) {
  const Case c{.num_q_heads = 1, .q_len = 70, .kv_len = 70};
  Tensors t = c.tensors();
  const Attention scaled = attend(t, 0.5F, nullptr);
  std::for_each(t.q.begin(), t.q.end(), [](float &x) { x *= 0.5F; });
  const Attention halved = attend(t, 1.0F, nullptr);
  EXPECT_LE(max_difference(scaled.out, halved.out), 1e-6);
  EXPECT_LE(max_difference(scaled.lse, halved.lse), 1e-5);
}

TEST(Attend, EmptyCallsGiveEmptyResults) {
  for (const Shape shape : {Shape{0, 5, 5}, Shape{1, 0, 5}, Shape{1, 0, 0}}) {
    const Tensors t = make_tensors(Case{}.problem(), shape);
    EXPECT_TRUE(attend(t, 1.0F, nullptr).out.empty());
    EXPECT_TRUE(run_sale(Case{}.problem(), Case{}.policy(Estimator::int4), t).out.empty());
  }
}

TEST(Attend, RefusesSizesThatContradictEachOther) {
  const Case c{.q_len = 70, .kv_len = 70};
  Tensors t = c.tensors();
  const Mask other(c.shape(), c.num_q_heads, 64, 64);
  EXPECT_THROW(attend(t, 1.0F, &other, 64, 32), Error);
  t.v.pop_back();
  EXPECT_THROW(attend(t, 1.0F, nullptr), Error);
  Problem wrong = c.problem();
  wrong.num_q_heads = 6;
  EXPECT_THROW(run_sale(wrong, c.policy(), c.tensors()), Error);
}

} // namespace
} // namespace sale::reference
