// SPDX-License-Identifier: Apache-2.0
// What must not change a result: shifts of K, repeated KV heads, other batch elements, chunking, repetition.
#include "reference/means.hpp"
#include "reference/run.hpp"
#include "reference/select.hpp"
#include "reference/synthetic.hpp"
#include "tests/reference/support.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace sale::reference {
namespace {

using testing::all_estimators;
using testing::Case;
using testing::max_difference;

/// fp8 on channels by energy or given, projected, and on pruned queries.
std::vector<Policy> fp8_policies(const Case &c) {
  std::vector<Policy> policies(4, c.policy(Estimator::fp8));
  policies[0].estimate_dim = 32;
  policies[1].estimate_dim = 32;
  for (int n = 0; n < 32 * c.num_kv_heads; ++n) {
    policies[1].channels.push_back(n / 32 + n % 32);
  }
  policies[2].estimate_dim = 32;
  for (int n = 0; n < 2 * c.num_kv_heads * 32 * c.head_dim; ++n) {
    policies[2].projection.push_back(static_cast<float>(n * 7 % 31 - 15) / 64.0F);
  }
  policies[3].prune_queries = true;
  return policies;
}

class Invariance : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, Invariance, ::testing::ValuesIn(testing::long_cases()),
                         [](const auto &test) { return testing::name_of(test.param); });

TEST_P(Invariance, P11AHeadGivesWhatItGivesWithKeysAndValuesRepeated) {
  const Case c = GetParam();
  const Tensors t = c.tensors();
  Problem repeated = c.problem();
  repeated.num_kv_heads = repeated.num_q_heads;
  for (const Estimator estimator : all_estimators) {
    const Result grouped = run_sale(c.problem(), c.policy(estimator), t);
    const Result alone = run_sale(repeated, c.policy(estimator), testing::repeat_kv(t));
    EXPECT_EQ(grouped.mask, alone.mask);
    EXPECT_EQ(grouped.out, alone.out);
    EXPECT_EQ(grouped.lse, alone.lse);
  }
}

TEST(InvarianceOf, P12ABatchElementDoesNotDependOnTheOthers) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 333, .kv_len = 700, .batch = 3};
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    const Result together = run_sale(c.problem(), c.policy(estimator), t);
    for (int b = 0; b < 3; ++b) {
      const Result alone = run_sale(c.problem(), c.policy(estimator), testing::batch_element(t, b));
      const std::ptrdiff_t size = alone.out.size();
      EXPECT_TRUE(std::equal(alone.out.begin(), alone.out.end(), together.out.begin() + b * size));
      const std::ptrdiff_t words = alone.mask.words().size();
      EXPECT_TRUE(
          std::equal(alone.mask.words().begin(), alone.mask.words().end(), together.mask.words().begin() + b * words));
    }
  }
}

TEST(InvarianceOf, P12P15Fp8EstimatesAreOfTheirBatchElementAndRepeat) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 333, .kv_len = 700, .batch = 3};
  const Tensors t = c.tensors();
  for (const Policy &policy : fp8_policies(c)) {
    const Mask together = testing::mask_of(t, policy, c.scale());
    EXPECT_EQ(testing::mask_of(t, policy, c.scale()), together);
    for (int b = 0; b < 3; ++b) {
      const Mask alone = testing::mask_of(testing::batch_element(t, b), policy, c.scale());
      const std::ptrdiff_t words = alone.words().size();
      EXPECT_TRUE(std::equal(alone.words().begin(), alone.words().end(), together.words().begin() + b * words));
    }
  }
}

TEST(InvarianceOf, P11Fp8EstimatesWithRepeatedKeysAreTheSameGivenTheirChannels) {
  const Case c{.num_q_heads = 6, .num_kv_heads = 2, .q_len = 333, .kv_len = 700};
  const Tensors t = c.tensors();
  Policy policy = fp8_policies(c)[1];
  Policy repeated = policy;
  repeated.channels.clear();
  for (int h = 0; h < 6; ++h) {
    const auto first = policy.channels.begin() + h / 3 * 32;
    repeated.channels.insert(repeated.channels.end(), first, first + 32);
  }
  EXPECT_EQ(testing::mask_of(t, policy, c.scale()), testing::mask_of(testing::repeat_kv(t), repeated, c.scale()));
  const Policy pruned = fp8_policies(c)[3]; // weights are of the keys alone
  EXPECT_EQ(testing::mask_of(t, pruned, c.scale()), testing::mask_of(testing::repeat_kv(t), pruned, c.scale()));
}

TEST(InvarianceOf, AChunkGivenTheMeansAndChannelsHasTheFp8MasksOfTheWholePrefill) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 1087, .kv_len = 1087, .sink = 40, .window = 100};
  const Tensors whole = c.tensors();
  const std::vector<float> kbar = mean_keys(whole);
  for (const Policy &policy : fp8_policies(c)) {
    const Estimates all =
        prepare_estimates(whole, policy, c.scale(), kbar, {}, thresholds(whole, policy, c.scale()).value);
    const Mask expected = select(whole, policy, all);
    const Tensors chunk = testing::chunk_of(whole, 640, 256);
    const std::vector<float> threshold = thresholds(chunk, policy, c.scale()).value;
    const Mask actual =
        select(chunk, policy, prepare_estimates(chunk, policy, c.scale(), kbar, {}, threshold, &all.channels));
    for (int h = 0; h < 4; ++h) {
      for (int m = 0; m < 4; ++m) {
        for (int j = 0; j < actual.k_blocks(); ++j) {
          ASSERT_EQ(actual.test(0, h, m, j), expected.test(0, h, 10 + m, j)) << "blocks " << m << " and " << j;
        }
      }
    }
  }
}

TEST_P(Invariance, P7AddingAConstantToAllKeysChangesNeitherMaskNorOutput) {
  const Case c = GetParam();
  Tensors t = c.tensors();
  // A grid on which adding the constant is exact; fp64 products make the rest exact but for rounding of T and
  // estimates.
  for (float &x : t.k) {
    x = std::rint(x * 32.0F) / 32.0F;
  }
  Tensors shifted = t;
  for (std::size_t i = 0; i < t.k.size(); ++i) {
    shifted.k[i] += static_cast<float>(static_cast<int>(i % c.head_dim * 5) % 17 - 8) / 4.0F;
  }
  for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::fp8}) {
    const Policy policy = c.policy(estimator);
    const Mask before = testing::mask_of(t, policy, c.scale());
    const Mask after = testing::mask_of(shifted, policy, c.scale());
    const Margins margins = estimate_margins(t, policy, testing::estimates_of(t, policy, c.scale()));
    testing::expect_equal_but_for_ties(before, after, margins, estimator == Estimator::exact ? 1e-3 : 0.05);
    const Attention out_before = attend(t, c.scale(), &before, c.block_q, c.block_k);
    const Attention out_after = attend(shifted, c.scale(), &before, c.block_q, c.block_k);
    EXPECT_LE(max_difference(out_before.out, out_after.out), 1e-5);
  }
}

TEST(InvarianceOf, P15TwentyRunsGiveTheSameBits) {
  const Case c{.num_q_heads = 4, .num_kv_heads = 2, .q_len = 333, .kv_len = 700, .batch = 2};
  const Tensors t = c.tensors();
  for (const Estimator estimator : all_estimators) {
    const Mask first = testing::mask_of(t, c.policy(estimator), c.scale());
    for (int run = 1; run < 20; ++run) {
      ASSERT_EQ(testing::mask_of(t, c.policy(estimator), c.scale()), first);
    }
  }
}

TEST(InvarianceOf, P15OutputsOfARepeatedRunAreTheSameBits) {
  const Case c{.q_len = 500, .kv_len = 700};
  const Tensors t = c.tensors();
  const Result first = run_sale(c.problem(), c.policy(Estimator::int8), t);
  const Result second = run_sale(c.problem(), c.policy(Estimator::int8), t);
  EXPECT_EQ(first.out, second.out);
  EXPECT_EQ(first.lse, second.lse);
}

TEST(InvarianceOf, AChunkGivenTheMeansHasTheMasksOfTheWholePrefill) {
  for (const int block_q : {64, 128}) {
    for (const int block_k : {32, 128}) {
      const Case c{.num_q_heads = 3,
                   .block_q = block_q,
                   .block_k = block_k,
                   .q_len = 1087,
                   .kv_len = 1087,
                   .batch = 2,
                   .sink = 40,
                   .window = 100};
      const Tensors whole = c.tensors();
      const std::vector<float> kbar = mean_keys(whole);
      const std::vector<float> qbar = mean_queries(whole);
      for (const Estimator estimator : all_estimators) {
        const Policy policy = c.policy(estimator);
        const Mask expected = select(whole, policy, c.scale(), kbar, qbar, thresholds(whole, policy, c.scale()).value);
        for (const auto &[first, count] : {std::pair{0, 640}, {640, 128}, {768, 200}, {1024, 63}}) {
          const Tensors chunk = testing::chunk_of(whole, first, count);
          const Mask actual = select(chunk, policy, c.scale(), kbar, qbar, thresholds(chunk, policy, c.scale()).value);
          // A chunk's last, ragged block has fewer rows than the whole's, unless both end there.
          const int rows = first + count < 1087 ? count / block_q * block_q : count;
          for (int b = 0; b < 2; ++b) {
            for (int h = 0; h < 3; ++h) {
              for (int m = 0; m < ceil_div(rows, block_q); ++m) {
                for (int j = 0; j < actual.k_blocks(); ++j) {
                  ASSERT_EQ(actual.test(b, h, m, j), expected.test(b, h, first / block_q + m, j))
                      << to_string(estimator) << " rows from " << first << " query block " << m << " key block " << j;
                }
              }
            }
          }
        }
      }
    }
  }
}

} // namespace
} // namespace sale::reference
