// SPDX-License-Identifier: Apache-2.0
#include "calibrate/blocks.hpp"

#include "core/parallel_for.hpp"
#include "reference/linear.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"
#include "sale/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale {

using reference::ceil_div;
using reference::Region;
using reference::region_of;
using reference::Tensors;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void check(const Tensors &tensors) {
  reference::validate(tensors);
  const auto finite = [](const std::vector<float> &values) {
    return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
  };
  if (!finite(tensors.q) || !finite(tensors.k)) {
    throw Error(ErrorKind::invalid_argument, "q and k must be finite; there is a NaN or an infinity among them");
  }
}

/// Blocks of one head, in order of batch element, query block and key block.
HeadBlocks list_blocks(const Tensors &tensors, const Policy &policy) {
  HeadBlocks blocks;
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int m = 0; m < ceil_div(tensors.shape.q_len, policy.block_q); ++m) {
      const Region region = region_of(policy, tensors, m);
      for (int j = region.first_estimated; j < region.end_estimated; ++j) {
        blocks.push_back({b, m, j});
      }
    }
  }
  return blocks;
}

/// Scores of one query block's rows against every key that its last row sees.
class QueryBlock {
public:
  QueryBlock(const Tensors &tensors, const Policy &policy, int b, int h, int query_block)
      : tensors_(tensors), block_k_(policy.block_k), first_row_(query_block * policy.block_q),
        rows_(std::min(policy.block_q, tensors.shape.q_len - first_row_)),
        keys_(tensors.position(first_row_ + rows_ - 1) + 1), scores_(static_cast<std::size_t>(rows_) * keys_) {
    reference::KeyTile tile;
    std::vector<double> tile_scores(block_k_);
    const float *q = tensors.query(b, h, first_row_);
    const std::vector<double> queries(q, q + static_cast<std::ptrdiff_t>(rows_) * tensors.head_dim);
    for (int first_key = 0; first_key < keys_; first_key += block_k_) {
      tile.load(tensors.key(b, tensors.kv_head(h), first_key), std::min(block_k_, keys_ - first_key), tensors.head_dim);
      for (int r = 0; r < rows_; ++r) {
        tile.scores(queries.data() + static_cast<std::ptrdiff_t>(r) * tensors.head_dim, tile_scores.data());
        std::copy_n(tile_scores.begin(), tile.count(), row(r) + first_key);
      }
    }
  }

  /// `blocks` are this query block's; `threshold` is T of its rows.
  void measure(const float *threshold, double scale, Block *blocks, int count) {
    for (int i = 0; i < count; ++i) {
      blocks[i].exact_margin = -infinity;
    }
    for (int r = 0; r < rows_; ++r) {
      const int seen = tensors_.position(first_row_ + r) + 1;
      double *scores = row(r);
      for (int i = 0; i < count; ++i) {
        const double *first = scores + static_cast<std::ptrdiff_t>(blocks[i].key_block) * block_k_;
        const double best = *std::max_element(first, first + block_k_);
        blocks[i].exact_margin = std::max(blocks[i].exact_margin, scale * (best - threshold[r]));
      }
      const double most = *std::max_element(scores, scores + seen);
      double total = 0.0;
      for (int j = 0; j < seen; ++j) {
        scores[j] = std::exp(scale * (scores[j] - most));
        total += scores[j];
      }
      for (int i = 0; i < count; ++i) {
        const double *first = scores + static_cast<std::ptrdiff_t>(blocks[i].key_block) * block_k_;
        double mass = 0.0;
        for (int j = 0; j < block_k_; ++j) {
          mass += first[j];
        }
        blocks[i].mass += mass / total;
      }
    }
  }

private:
  double *row(int r) { return scores_.data() + static_cast<std::ptrdiff_t>(r) * keys_; }

  const Tensors &tensors_;
  int block_k_;
  int first_row_;
  int rows_;
  int keys_;
  std::vector<double> scores_; // [rows, keys]
};

} // namespace

std::vector<HeadBlocks> exact_blocks(const Tensors &tensors, const Policy &policy, float scale) {
  check(tensors);
  const reference::Thresholds thresholds = reference::thresholds(tensors, policy, scale);
  std::vector<HeadBlocks> heads(tensors.num_q_heads, list_blocks(tensors, policy));
  // Where a query block's blocks begin in its head's list.
  struct Range {
    int batch;
    int query_block;
    std::size_t first;
    int count;
  };
  std::vector<Range> ranges;
  std::size_t first = 0;
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int m = 0; m < ceil_div(tensors.shape.q_len, policy.block_q); ++m) {
      const Region region = region_of(policy, tensors, m);
      const int count = region.end_estimated - region.first_estimated;
      if (count > 0) {
        ranges.push_back({b, m, first, count});
        first += count;
      }
    }
  }
  parallel_for(static_cast<std::int64_t>(ranges.size()) * tensors.num_q_heads, [&](std::int64_t item) {
    const int h = static_cast<int>(item % tensors.num_q_heads);
    const Range &range = ranges[ranges.size() - 1 - item / tensors.num_q_heads];
    QueryBlock rows(tensors, policy, range.batch, h, range.query_block);
    rows.measure(thresholds.value.data() + tensors.q_row(range.batch, h, range.query_block * policy.block_q), scale,
                 heads[h].data() + range.first, range.count);
  });
  return heads;
}

void estimate_blocks(const Tensors &tensors, Policy policy, float scale, std::vector<HeadBlocks> &heads) {
  policy.shift_per_head.clear();
  const bool exact = policy.estimator == Estimator::exact;
  const std::vector<float> kbar = exact ? std::vector<float>() : reference::kbar_of(tensors, policy);
  const std::vector<float> qbar =
      policy.estimator == Estimator::int4 ? reference::mean_queries(tensors) : std::vector<float>();
  const std::vector<float> threshold = reference::thresholds(tensors, policy, scale).value;
  reference::Estimates estimates = reference::prepare_estimates(tensors, policy, scale, kbar, qbar, threshold);
  // fp8 rounds thresholds down to f16, another step at every shift: without it, what a shift keeps it keeps for sure.
  estimates.rows.theta16 = estimates.rows.theta;
  const reference::Margins margins = reference::estimate_margins(tensors, policy, estimates);
  for (int h = 0; h < tensors.num_q_heads; ++h) {
    for (Block &block : heads[h]) {
      block.margin = scale * margins.at(block.batch, h, block.query_block, block.key_block);
    }
  }
}

} // namespace sale
