// SPDX-License-Identifier: Apache-2.0
#include "runtime/workspace.hpp"

#include "generator/generate.hpp"
#include "sale/sale.hpp"

#include <algorithm>
#include <initializer_list>

namespace sale {

namespace {

constexpr int max_splits = 128;
constexpr int min_tokens_per_split = 256;
constexpr int group_keys = 32; // docs/numerics.md, section 5: whatever block_k is.

int ceil_div(int value, int divisor) { return (value + divisor - 1) / divisor; }

std::size_t product(std::initializer_list<int> factors) {
  std::size_t result = 1;
  for (const int factor : factors) {
    result *= static_cast<std::size_t>(factor);
  }
  return result;
}

} // namespace

MeanSplit split_mean(int len) {
  MeanSplit split;
  split.tokens_per_split = std::max(min_tokens_per_split, ceil_div(len, max_splits));
  split.splits = ceil_div(len, split.tokens_per_split);
  return split;
}

Counters counters(const Problem &problem, const Policy &policy, int batch) {
  Counters result{};
  int &end = result.total;
  const auto place = [&end](int &first, int count) {
    first = end;
    end += count;
  };
  const bool smooths = policy.estimator != Estimator::exact || policy.fp8_attend;
  place(result.keys, smooths ? batch * problem.num_kv_heads : 0);
  place(result.queries, policy.estimator == Estimator::int4 ? batch * problem.num_q_heads : 0);
  place(result.channels, policy.estimator == Estimator::fp8 ? batch * problem.num_kv_heads : 0);
  place(result.v_amax, policy.fp8_attend ? batch * problem.num_kv_heads : 0);
  place(result.select_item, std::min(batch, 1));
  place(result.attend_item, std::min(batch, 1));
  return result;
}

int energy_splits(int kv_len) { return std::max(1, std::min(max_splits, kv_len / 2048)); }

int padded_q_len(int q_len) { return ceil_div(q_len, 128) * 128; }

int mask_row_words(const Policy &policy, int kv_len) {
  return ceil_div(ceil_div(ceil_div(kv_len, policy.block_k), 32), 4) * 4;
}

std::size_t mask_words(const Problem &problem, const Policy &policy, const Shape &shape) {
  return product(
      {shape.batch, problem.num_q_heads, ceil_div(shape.q_len, policy.block_q), mask_row_words(policy, shape.kv_len)});
}

WorkspaceLayout workspace_layout(const Problem &problem, const Policy &policy, const Shape &shape, int code_row_bytes) {
  WorkspaceLayout layout;
  const auto place = [&layout](WorkspacePiece &piece, std::size_t bytes) {
    piece = {layout.total, bytes};
    layout.total += (bytes + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
  };
  const int batch = shape.batch;
  const int q_heads = problem.num_q_heads;
  const int kv_heads = problem.num_kv_heads;
  const int dim = problem.head_dim;
  const int q_padded = padded_q_len(shape.q_len);
  const int groups = ceil_div(shape.kv_len, group_keys);
  const bool codes = policy.estimator != Estimator::exact;
  const bool fp8 = policy.estimator == Estimator::fp8;
  const bool int4 = policy.estimator == Estimator::int4;
  constexpr std::size_t word = 4;

  place(layout.counters, word * static_cast<std::size_t>(counters(problem, policy, batch).total));
  const int padded_groups = ceil_div(groups, 4) * 4;
  if (codes || policy.fp8_attend) {
    place(layout.kbar_partial, word * product({batch, kv_heads, split_mean(shape.kv_len).splits, dim}));
    place(layout.kbar, word * product({batch, kv_heads, dim}));
  }
  if (codes) {
    place(layout.k_codes, product({batch, kv_heads, shape.kv_len, code_row_bytes}));
    place(layout.k_scales, word * product({batch, kv_heads, fp8 ? padded_groups : groups, int4 ? 4 : 1}));
    place(layout.q_codes, product({batch, q_heads, q_padded, code_row_bytes}));
    place(layout.q_scales, word * product({batch, q_heads, q_padded}));
  }
  if (fp8) {
    const int width = policy.estimate_dim == 0 ? dim : policy.estimate_dim;
    place(layout.energy, word * product({batch, kv_heads, energy_splits(shape.kv_len), 2, dim}));
    place(layout.channels, word * product({batch, kv_heads, width}));
    if (policy.prune_queries) {
      place(layout.weights, word * product({batch, kv_heads, width}));
      place(layout.q_metadata, word * product({batch, q_heads, q_padded / 64, width / 64, 128}));
    }
  }
  if (policy.fp8_attend) {
    if (!attend_shares_codes(policy)) {
      place(layout.all_k_codes, product({batch, kv_heads, shape.kv_len, dim}));
      place(layout.all_k_scales, word * product({batch, kv_heads, padded_groups}));
    }
    place(layout.v_codes, product({batch, kv_heads, padded_groups * group_keys, dim}));
    place(layout.kv_scales, word * product({batch, kv_heads, padded_groups, 4}));
  }
  if (int4) {
    place(layout.qbar_partial, word * product({batch, q_heads, split_mean(shape.q_len).splits, dim}));
    place(layout.qbar, word * product({batch, q_heads, dim}));
    place(layout.bias, word * product({batch, q_heads, groups * group_keys}));
  }
  place(layout.threshold, word * product({batch, q_heads, q_padded}));
  place(layout.theta, word * product({batch, q_heads, q_padded}));
  place(layout.mask, word * mask_words(problem, policy, shape));
  return layout;
}

} // namespace sale
