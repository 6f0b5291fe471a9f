// SPDX-License-Identifier: Apache-2.0
// What a Plan promises beyond numbers: determinism, masks in, batches, and that nothing depends on what the workspace
// held.
#include "reference/attend.hpp"
#include "reference/synthetic.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sale::test {
namespace {

using check::DeviceResult;
using check::DeviceRun;

DeviceRun small_run(Estimator estimator) {
  DeviceRun run;
  run.problem.num_q_heads = 4;
  run.problem.num_kv_heads = 2;
  run.policy.estimator = estimator;
  return run;
}

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

class PlanTest : public GpuTest {};

TEST_F(PlanTest, GivesTheSameBitsInTwentyRuns) {
  for (const Estimator estimator : {Estimator::int8, Estimator::int4, Estimator::exact}) {
    const DeviceRun run = small_run(estimator);
    const auto tensors = reference::structured(run.problem, {1, 1025, 1025}, 3);
    const DeviceResult first = run_on_gpu(run, tensors);
    for (int i = 1; i < 20; ++i) {
      const DeviceResult again = run_on_gpu(run, tensors);
      ASSERT_TRUE(again.mask == first.mask) << to_string(estimator) << " run " << i;
      ASSERT_TRUE(same_bits(again.out, first.out) && same_bits(again.lse, first.lse))
          << to_string(estimator) << " run " << i;
    }
  }
}

TEST_F(PlanTest, EveryBatchEntryEqualsItsOwnRun) {
  const DeviceRun run = small_run(Estimator::int8);
  const auto both = reference::structured(run.problem, {2, 300, 700}, 4);
  const DeviceResult together = run_on_gpu(run, both);
  for (int b = 0; b < 2; ++b) {
    auto one = reference::make_tensors(run.problem, {1, 300, 700});
    std::memcpy(one.q.data(), both.query(b, 0, 0), one.q.size() * 4);
    std::memcpy(one.k.data(), both.key(b, 0, 0), one.k.size() * 4);
    std::memcpy(one.v.data(), both.value(b, 0, 0), one.v.size() * 4);
    const DeviceResult alone = run_on_gpu(run, one);
    EXPECT_EQ(0, std::memcmp(alone.out.data(), together.out.data() + b * alone.out.size(), alone.out.size() * 4));
    EXPECT_EQ(0, std::memcmp(alone.mask.words().data(), together.mask.words().data() + b * alone.mask.words().size(),
                             alone.mask.words().size() * 4));
  }
}

// Tensor parallelism: a rank has its KV heads, their query heads, and its slice of the thresholds.
TEST_F(PlanTest, EveryRanksHeadsEqualThoseOfTheWhole) {
  for (const Estimator estimator : {Estimator::int8, Estimator::int4, Estimator::exact}) {
    DeviceRun whole = small_run(estimator);
    whole.policy.tau_per_head = {0.001F, 0.05F, 0.004F, 0.2F};
    whole.policy.shift_per_head = {0.0F, 0.5F, -0.25F, 1.0F};
    const auto tensors = reference::structured(whole.problem, {1, 500, 1100}, 8);
    const DeviceResult together = run_on_gpu(whole, tensors);
    constexpr int ranks = 2;
    for (int rank = 0; rank < ranks; ++rank) {
      DeviceRun share = whole;
      share.problem.num_q_heads /= ranks;
      share.problem.num_kv_heads /= ranks;
      const auto slice = [&](std::vector<float> &values) {
        const auto heads = static_cast<std::ptrdiff_t>(values.size()) / ranks;
        values = {values.begin() + rank * heads, values.begin() + (rank + 1) * heads};
      };
      slice(share.policy.tau_per_head);
      slice(share.policy.shift_per_head);
      auto own = tensors;
      own.num_q_heads /= ranks;
      own.num_kv_heads /= ranks;
      slice(own.q);
      slice(own.k);
      slice(own.v);
      const DeviceResult alone = run_on_gpu(share, own);
      auto out = together.out;
      auto lse = together.lse;
      slice(out);
      slice(lse);
      EXPECT_TRUE(same_bits(alone.out, out) && same_bits(alone.lse, lse)) << to_string(estimator) << " rank " << rank;
      const auto &words = together.mask.words();
      const std::size_t own_words = alone.mask.words().size();
      ASSERT_EQ(own_words * ranks, words.size());
      EXPECT_TRUE(std::equal(alone.mask.words().begin(), alone.mask.words().end(),
                             words.begin() + static_cast<std::ptrdiff_t>(rank * own_words)))
          << to_string(estimator) << " rank " << rank;
    }
  }
}

TEST_F(PlanTest, AttendsExactlyOverAMaskThatIsGiven) {
  for (const int block_k : {32, 64, 128}) {
    for (const int block_q : {64, 128}) {
      DeviceRun run = small_run(Estimator::int8);
      run.policy.block_k = block_k;
      run.policy.block_q = block_q;
      const Shape shape{1, 20000, 20000};
      run.problem.num_q_heads = 2;
      run.problem.num_kv_heads = 1;
      const auto tensors = reference::gaussian(run.problem, shape);
      // Sparse and irregular, over several batches of mask words; every row keeps its diagonal block.
      reference::Mask mask(shape, run.problem.num_q_heads, block_q, block_k);
      std::uint32_t state = 12345;
      for (int h = 0; h < 2; ++h) {
        for (int m = 0; m < mask.q_blocks(); ++m) {
          for (int j = 0; j * block_k < std::min((m + 1) * block_q, shape.kv_len); ++j) {
            state = state * 1664525U + 1013904223U;
            mask.set(0, h, m, j, (state >> 16) % 97 == 0 || (j + 1) * block_k > m * block_q);
          }
        }
      }
      run.mask_in = &mask;
      const DeviceResult result = run_on_gpu(run, tensors);
      EXPECT_TRUE(result.guards_intact);
      const auto expected = reference::attend(tensors, effective_softmax_scale(run.problem), &mask, block_q, block_k);
      double error = 0;
      double size = 0;
      for (std::size_t i = 0; i < expected.out.size(); ++i) {
        error += std::pow(static_cast<double>(result.out[i]) - expected.out[i], 2);
        size += std::pow(static_cast<double>(expected.out[i]), 2);
      }
      EXPECT_LE(std::sqrt(error), 4e-3 * std::sqrt(size)) << "block_q " << block_q << " block_k " << block_k;
    }
  }
}

TEST_F(PlanTest, ARowWithoutKeysGivesZeroAndMinusInfinity) {
  DeviceRun run = small_run(Estimator::int8);
  const Shape shape{1, 200, 200};
  const auto tensors = reference::gaussian(run.problem, shape);
  reference::Mask mask(shape, run.problem.num_q_heads, run.policy.block_q, run.policy.block_k);
  mask.set(0, 1, 1, 0);
  run.mask_in = &mask;
  const DeviceResult result = run_on_gpu(run, tensors);
  for (int h = 0; h < run.problem.num_q_heads; ++h) {
    for (int i = 0; i < shape.q_len; ++i) {
      const std::size_t row = tensors.q_row(0, h, i);
      const bool sees = h == 1 && i >= 64 && i < 128;
      EXPECT_EQ(std::isinf(result.lse[row]), !sees) << "head " << h << " row " << i;
      EXPECT_EQ(result.out[row * run.problem.head_dim] == 0.0F, !sees) << "head " << h << " row " << i;
    }
  }
}

TEST_F(PlanTest, TauAndShiftOfACallAreThoseOfAPolicy) {
  DeviceRun by_policy = small_run(Estimator::int8);
  by_policy.policy.tau_per_head = {0.001F, 0.0F, 0.05F, 0.004F};
  by_policy.policy.shift_per_head = {0.0F, 0.5F, -0.25F, 1.0F};
  DeviceRun by_call = small_run(Estimator::int8);
  by_call.tau = by_policy.policy.tau_per_head;
  by_call.shift = by_policy.policy.shift_per_head;
  const auto tensors = reference::structured(by_policy.problem, {1, 900, 1100}, 6);
  const DeviceResult expected = run_on_gpu(by_policy, tensors);
  const DeviceResult result = run_on_gpu(by_call, tensors);
  EXPECT_TRUE(result.mask == expected.mask);
  EXPECT_TRUE(same_bits(result.out, expected.out));
}

TEST_F(PlanTest, AGivenKbarDecidesTheCodesAndAChunkThenMatchesTheWhole) {
  // docs/numerics.md: with kbar given, a chunk at a multiple of block_q has the mask of the same rows of the whole.
  DeviceRun run = small_run(Estimator::int8);
  const auto whole = reference::structured(run.problem, {1, 1024, 1024}, 8);
  run.kbar.assign(static_cast<std::size_t>(run.problem.num_kv_heads) * run.problem.head_dim, 0.125F);
  const DeviceResult all = run_on_gpu(run, whole);
  const int offset = 640;
  auto chunk = reference::make_tensors(run.problem, {1, 256, 896});
  for (int h = 0; h < run.problem.num_q_heads; ++h) {
    std::copy_n(whole.query(0, h, offset), 256 * run.problem.head_dim,
                chunk.q.begin() + static_cast<std::ptrdiff_t>(chunk.q_row(0, h, 0)) * run.problem.head_dim);
  }
  for (int g = 0; g < run.problem.num_kv_heads; ++g) {
    const auto at = static_cast<std::ptrdiff_t>(chunk.kv_row(0, g, 0)) * run.problem.head_dim;
    std::copy_n(whole.key(0, g, 0), 896 * run.problem.head_dim, chunk.k.begin() + at);
    std::copy_n(whole.value(0, g, 0), 896 * run.problem.head_dim, chunk.v.begin() + at);
  }
  const DeviceResult part = run_on_gpu(run, chunk);
  for (int h = 0; h < run.problem.num_q_heads; ++h) {
    for (int m = 0; m < part.mask.q_blocks(); ++m) {
      for (int j = 0; j < part.mask.k_blocks(); ++j) {
        EXPECT_EQ(part.mask.test(0, h, m, j), all.mask.test(0, h, m + offset / run.policy.block_q, j))
            << h << " " << m << " " << j;
      }
    }
  }
}

TEST_F(PlanTest, ABatchWithNothingInItDoesNothing) {
  const DeviceRun run = small_run(Estimator::int8);
  const Engine engine(0, test_options());
  const Plan plan = engine.prepare(run.problem, run.policy);
  RunArgs args;
  args.shape = {0, 16, 16};
  EXPECT_NO_THROW(plan.run(args, nullptr));
  args.shape = {1, 0, 16};
  EXPECT_NO_THROW(plan.run(args, nullptr));
}

} // namespace
} // namespace sale::test
