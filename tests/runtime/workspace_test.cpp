// SPDX-License-Identifier: Apache-2.0
#include "runtime/workspace.hpp"
#include "sale/sale.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sale {
namespace {

std::vector<WorkspacePiece> pieces(const WorkspaceLayout &layout) {
  return {layout.counters,  layout.kbar_partial, layout.qbar_partial,    layout.kbar,         layout.qbar,
          layout.energy,    layout.channels,     layout.weights,         layout.bias,         layout.q_metadata,
          layout.k_codes,   layout.k_scales,     layout.theta,           layout.mask,         layout.threshold,
          layout.q_codes,   layout.q_scales,     layout.all_k_codes,     layout.all_k_scales, layout.v_codes,
          layout.kv_scales, layout.sequences,    layout.sequence_counts, layout.row_units,    layout.key_units,
          layout.v_tails};
}

Policy policy_with(Estimator estimator) {
  Policy policy;
  policy.estimator = estimator;
  return policy;
}

TEST(Workspace, HasAlignedPiecesThatDoNotOverlap) {
  Problem problem;
  problem.num_q_heads = 7;
  problem.num_kv_heads = 7;
  for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4, Estimator::fp8}) {
    for (const int kv_len : {1, 31, 33, 1000, 4097}) {
      Policy policy = policy_with(estimator);
      policy.fp8_attend = kv_len % 2 == 0;
      Serving serving;
      serving.ragged = kv_len % 3 == 0;
      const WorkspaceLayout layout = workspace_layout(problem, policy, {3, kv_len / 2 + 1, kv_len}, 128, serving);
      std::vector<WorkspacePiece> all = pieces(layout);
      std::erase_if(all, [](const WorkspacePiece &piece) { return piece.bytes == 0; });
      std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) { return a.offset < b.offset; });
      std::size_t end = 0;
      for (const WorkspacePiece &piece : all) {
        EXPECT_EQ(piece.offset % workspace_alignment, 0U);
        EXPECT_GE(piece.offset, end);
        end = piece.offset + piece.bytes;
      }
      EXPECT_GE(layout.total, end);
      EXPECT_EQ(layout.total % workspace_alignment, 0U);
    }
  }
}

TEST(Workspace, HasTheSizesThatTheKernelsWrite) {
  Problem problem;
  problem.num_q_heads = 8;
  problem.num_kv_heads = 2;
  const Shape shape{3, 130, 1001};
  const WorkspaceLayout int8 = workspace_layout(problem, policy_with(Estimator::int8), shape, 128);
  EXPECT_EQ(int8.counters.bytes, 4U * (3 * 2 + 2));
  EXPECT_EQ(int8.kbar_partial.bytes, 4U * 3 * 2 * 4 * 128);
  EXPECT_EQ(int8.kbar.bytes, 4U * 3 * 2 * 128);
  EXPECT_EQ(int8.k_codes.bytes, 3U * 2 * 1001 * 128);
  EXPECT_EQ(int8.k_scales.bytes, 4U * 3 * 2 * 32);
  EXPECT_EQ(int8.q_codes.bytes, 3U * 8 * 256 * 128);
  EXPECT_EQ(int8.q_scales.bytes, 4U * 3 * 8 * 256);
  EXPECT_EQ(int8.threshold.bytes, 4U * 3 * 8 * 256);
  EXPECT_EQ(int8.theta.bytes, 4U * 3 * 8 * 256);
  EXPECT_EQ(int8.mask.bytes, 4U * 3 * 8 * 3 * 4);
  EXPECT_EQ(int8.bias.bytes + int8.qbar.bytes + int8.qbar_partial.bytes, 0U);

  const WorkspaceLayout int4 = workspace_layout(problem, policy_with(Estimator::int4), shape, 64);
  EXPECT_EQ(int4.counters.bytes, 4U * (3 * (2 + 8) + 2));
  EXPECT_EQ(int4.k_codes.bytes, 3U * 2 * 1001 * 64);
  EXPECT_EQ(int4.k_scales.bytes, 4U * 3 * 2 * 32 * 4);
  EXPECT_EQ(int4.qbar.bytes, 4U * 3 * 8 * 128);
  EXPECT_EQ(int4.bias.bytes, 4U * 3 * 8 * 1024);
}

TEST(Workspace, HasRoomForCheaperFp8Estimates) {
  Problem problem;
  problem.num_q_heads = 8;
  problem.num_kv_heads = 2;
  Policy policy = policy_with(Estimator::fp8);
  policy.estimate_dim = 64;
  policy.prune_queries = true;
  const WorkspaceLayout layout = workspace_layout(problem, policy, {3, 130, 4097}, 64);
  EXPECT_EQ(layout.counters.bytes, 4U * (2 * 3 * 2 + 2));
  EXPECT_EQ(layout.k_codes.bytes, 3U * 2 * 4097 * 64);
  EXPECT_EQ(layout.k_scales.bytes, 4U * 3 * 2 * 132);
  EXPECT_EQ(layout.channels.bytes, 4U * 3 * 2 * 64);
  EXPECT_EQ(layout.energy.bytes, 4U * 3 * 2 * 2 * 2 * 128);
  EXPECT_EQ(layout.q_metadata.bytes, 4U * 3 * 8 * 4 * 128);
}

TEST(Workspace, HasRoomForTheCodesOfFp8Attention) {
  Problem problem;
  problem.num_q_heads = 8;
  problem.num_kv_heads = 2;
  Policy policy = policy_with(Estimator::fp8);
  policy.fp8_attend = true;
  const WorkspaceLayout shared = workspace_layout(problem, policy, {3, 130, 1001}, 128);
  EXPECT_EQ(shared.v_codes.bytes, 3U * 2 * 1024 * 128);
  EXPECT_EQ(shared.kv_scales.bytes, 3U * 2 * 32 * 16);
  EXPECT_EQ(shared.counters.bytes, 4U * (3 * 3 * 2 + 2));
  EXPECT_EQ(shared.all_k_codes.bytes + shared.all_k_scales.bytes, 0U);

  policy.estimator = Estimator::exact;
  const WorkspaceLayout own = workspace_layout(problem, policy, {3, 130, 1001}, 0);
  EXPECT_EQ(own.all_k_codes.bytes, 3U * 2 * 1001 * 128);
  EXPECT_EQ(own.all_k_scales.bytes, 4U * 3 * 2 * 32);
  EXPECT_EQ(own.kbar.bytes, 4U * 3 * 2 * 128);
  EXPECT_EQ(own.counters.bytes, 4U * (2 * 3 * 2 + 2));
}

TEST(Workspace, OfRaggedCallsHasWholeTilesOfEverySequence) {
  Problem problem;
  problem.num_q_heads = 8;
  problem.num_kv_heads = 2;
  Serving serving;
  serving.ragged = true;
  // 3 padded sequences: 2 tiles of 128 rows, 8 tiles of 128 keys and 1 unit of rows each.
  const WorkspaceLayout padded = workspace_layout(problem, policy_with(Estimator::int4), {3, 130, 1001}, 64, serving);
  EXPECT_EQ(padded.sequences.bytes, 3U * 64);
  EXPECT_EQ(padded.row_units.bytes, 3U * 4);
  EXPECT_EQ(padded.key_units.bytes, 3U * 8 * 4);
  EXPECT_EQ(padded.v_tails.bytes, 3U * 2 * 32 * 128 * 2);
  EXPECT_EQ(padded.theta.bytes, 8U * 3 * 256 * 4);
  EXPECT_EQ(padded.q_codes.bytes, 8U * 3 * 256 * 64);
  EXPECT_EQ(padded.k_codes.bytes, 2U * 3 * 1024 * 64);
  EXPECT_EQ(padded.k_scales.bytes, 2U * 3 * 32 * 4 * 4);
  EXPECT_EQ(padded.bias.bytes, 8U * 3 * 1024 * 4);
  EXPECT_EQ(padded.mask.bytes, 8U * 3 * 3 * 4 * 4);
  EXPECT_EQ(padded.kbar.bytes, 3U * 2 * 128 * 4);
  // Packed ones: as many tiles as there may be if each begins in the middle of one.
  Policy policy = policy_with(Estimator::fp8);
  policy.fp8_attend = true;
  const WorkspaceLayout packed = workspace_layout(problem, policy, {3, 900, 1001, 1300, 2000}, 128, serving);
  EXPECT_EQ(packed.row_units.bytes, (2U + 3) * 4);
  EXPECT_EQ(packed.key_units.bytes, (15U + 3) * 4);
  EXPECT_EQ(packed.v_tails.bytes, 0U);
  EXPECT_EQ(packed.theta.bytes, 8U * (10 + 3) * 128 * 4);
  EXPECT_EQ(packed.k_codes.bytes, 2U * (15 + 3) * 128 * 128);
  EXPECT_EQ(packed.v_codes.bytes, 2U * (15 + 3) * 128 * 128);
  EXPECT_EQ(packed.k_scales.bytes, 2U * (15 + 3) * 4 * 4);
  EXPECT_EQ(packed.mask.bytes, 8U * (20 + 3) * 4 * 4);
}

TEST(Workspace, OfTheExactEstimatorHoldsThresholdsMaskAndACounterOnly) {
  const WorkspaceLayout layout = workspace_layout({}, policy_with(Estimator::exact), {1, 100, 100}, 0);
  EXPECT_EQ(layout.total, 256 + 2 * (4U * 32 * 128) + 4U * 32 * 2 * 4);
}

TEST(Workspace, OfNoWorkIsEmpty) {
  EXPECT_EQ(workspace_layout({}, {}, {0, 100, 100}, 128).total, 0U);
  EXPECT_EQ(mask_words({}, {}, {1, 0, 100}), 0U);
}

TEST(Workspace, DoesNotOverflowAtTheLargestSizes) {
  Problem problem;
  problem.num_q_heads = 1024;
  problem.num_kv_heads = 1024;
  const WorkspaceLayout layout = workspace_layout(problem, {}, {64, 1 << 20, 1 << 20}, 128);
  EXPECT_EQ(layout.k_codes.bytes, std::size_t{64} * 1024 * (1 << 20) * 128);
}

TEST(MaskWords, RoundsRowsUpToSixteenBytes) {
  Problem problem;
  problem.num_q_heads = 1;
  problem.num_kv_heads = 1;
  EXPECT_EQ(mask_words(problem, {}, {1, 64, 32}), 4U);
  EXPECT_EQ(mask_words(problem, {}, {1, 65, 32 * 128}), 2U * 4);
  EXPECT_EQ(mask_words(problem, {}, {1, 64, 32 * 128 + 1}), 8U);
  // 128K keys and 32 heads are 34 MB.
  EXPECT_EQ(4 * mask_words({}, {}, {1, 1 << 17, 1 << 17}), std::size_t{1} << 25);
}

TEST(MeanSplit, CoversEveryTokenWithNoEmptySplit) {
  for (int len = 1; len < 400000; len = len * 5 / 4 + 1) {
    const MeanSplit split = split_mean(len);
    EXPECT_GE(split.splits * split.tokens_per_split, len);
    EXPECT_LT((split.splits - 1) * split.tokens_per_split, len);
    EXPECT_LE(split.splits, 128);
  }
}

} // namespace
} // namespace sale
