// SPDX-License-Identifier: Apache-2.0
#include "runtime/workspace.hpp"

#include "args/ragged_arg.cuh"
#include "generator/generate.hpp"
#include "runtime/extents.hpp"
#include "sale/sale.hpp"

#include <algorithm>

namespace sale {

namespace {

constexpr int max_splits = 128;
constexpr int min_tokens_per_split = 256;
constexpr int group_keys = 32;

int ceil_div(int value, int divisor) { return (value + divisor - 1) / divisor; }

template <class... Factors>
std::size_t product(Factors... factors) {
  return (std::size_t{1} * ... * static_cast<std::size_t>(factors));
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
  return product(problem.num_q_heads, capacity_of(policy, {}, shape).mask_rows, mask_row_words(policy, shape.kv_len));
}

WorkspaceLayout workspace_layout(const Problem &problem, const Policy &policy, const Shape &shape, int code_row_bytes,
                                 const Serving &serving) {
  WorkspaceLayout layout;
  const auto place = [&layout](WorkspacePiece &piece, std::size_t bytes) {
    piece = {layout.total, bytes};
    layout.total += (bytes + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
  };
  const int batch = shape.batch;
  const int q_heads = problem.num_q_heads;
  const int kv_heads = problem.num_kv_heads;
  const int dim = problem.head_dim;
  const Capacity capacity = capacity_of(policy, serving, shape);
  const bool codes = policy.estimator != Estimator::exact;
  const bool fp8 = policy.estimator == Estimator::fp8;
  const bool int4 = policy.estimator == Estimator::int4;
  constexpr std::size_t word = 4;

  place(layout.counters, word * static_cast<std::size_t>(counters(problem, policy, batch).total));
  if (serving.counted) {
    place(layout.started, 2 * word);
  }
  if (serving.is_ragged()) {
    place(layout.sequences, sizeof(SequenceEntry) * product(batch));
    place(layout.sequence_counts, sizeof(SequenceCounts));
    place(layout.row_units, word * capacity.slots);
    place(layout.key_units, word * (capacity.keys / 128));
    if (!policy.fp8_attend) {
      place(layout.v_tails, 2 * product(batch, kv_heads, group_keys, effective_v_head_dim(problem)));
    }
  }
  if (codes || policy.fp8_attend) {
    place(layout.kbar_partial, word * product(batch, kv_heads, split_mean(shape.kv_len).splits, dim));
    place(layout.kbar, word * product(batch, kv_heads, dim));
  }
  if (codes) {
    if (!serving.code_cache) {
      place(layout.k_codes, product(kv_heads, capacity.keys, code_row_bytes));
    }
    const std::size_t groups = fp8 ? capacity.padded_key_groups : capacity.key_groups;
    place(layout.k_scales, word * product(kv_heads, groups, int4 ? 4 : 1));
    place(layout.q_codes, product(q_heads, capacity.q_rows, code_row_bytes));
    place(layout.q_scales, word * product(q_heads, capacity.q_rows));
  }
  if (fp8) {
    const int width = policy.estimate_dim == 0 ? dim : policy.estimate_dim;
    place(layout.energy, word * product(batch, kv_heads, energy_splits(shape.kv_len), 2, dim));
    place(layout.channels, word * product(batch, kv_heads, width));
    if (policy.prune_queries) {
      place(layout.weights, word * product(batch, kv_heads, width));
      place(layout.q_metadata, word * product(q_heads, capacity.q_rows / 64, width / 64, 128));
    }
  }
  if (policy.fp8_attend) {
    if (!attend_shares_codes(policy)) {
      place(layout.all_k_codes, product(kv_heads, capacity.keys, dim));
      place(layout.all_k_scales, word * product(kv_heads, capacity.padded_key_groups));
    }
    place(layout.v_codes, product(kv_heads, capacity.padded_key_groups, group_keys, dim));
    place(layout.kv_scales, word * product(kv_heads, capacity.padded_key_groups, 4));
  }
  if (int4) {
    place(layout.qbar_partial, word * product(batch, q_heads, split_mean(shape.q_len).splits, dim));
    place(layout.qbar, word * product(batch, q_heads, dim));
    place(layout.bias, word * product(q_heads, capacity.key_groups, group_keys));
  }
  place(layout.threshold, word * product(q_heads, capacity.q_rows));
  place(layout.theta, word * product(q_heads, capacity.q_rows));
  place(layout.mask, word * mask_words(problem, policy, shape));
  return layout;
}

} // namespace sale
