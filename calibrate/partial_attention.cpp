// SPDX-License-Identifier: Apache-2.0
#include "calibrate/partial_attention.hpp"

#include "reference/linear.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>

namespace sale {

using reference::Tensors;

PartialAttention::PartialAttention(const Tensors &tensors, const Policy &policy, float scale, int b, int h,
                                   int query_block)
    : dim_(tensors.v_width()), rows_(std::min(policy.block_q, tensors.shape.q_len - query_block * policy.block_q)),
      blocks_(reference::region_of(policy, tensors, query_block).visible_blocks),
      mass_(static_cast<std::size_t>(blocks_) * rows_), out_(mass_.size() * dim_) {
  const int first_row = query_block * policy.block_q;
  const int keys = std::min(blocks_ * policy.block_k, tensors.shape.kv_len);
  const int g = tensors.kv_head(h);
  const int head_dim = tensors.head_dim;
  std::vector<double> scores(static_cast<std::size_t>(rows_) * keys);
  reference::KeyTile tile;
  std::vector<double> tile_scores(policy.block_k);
  const float *q = tensors.query(b, h, first_row);
  const std::vector<double> queries(q, q + static_cast<std::ptrdiff_t>(rows_) * head_dim);
  for (int first = 0; first < keys; first += policy.block_k) {
    tile.load(tensors.key(b, g, first), std::min(policy.block_k, keys - first), head_dim);
    for (int r = 0; r < rows_; ++r) {
      tile.scores(queries.data() + static_cast<std::ptrdiff_t>(r) * head_dim, tile_scores.data());
      std::copy_n(tile_scores.begin(), tile.count(), scores.begin() + static_cast<std::ptrdiff_t>(r) * keys + first);
    }
  }
  for (int r = 0; r < rows_; ++r) {
    double *row = scores.data() + static_cast<std::ptrdiff_t>(r) * keys;
    const int seen = tensors.position(first_row + r) + 1;
    const double most = *std::max_element(row, row + seen);
    for (int j = 0; j < keys; ++j) {
      row[j] = j < seen ? std::exp(scale * (row[j] - most)) : 0.0;
    }
  }
  for (int block = 0; block < blocks_; ++block) {
    const int first = block * policy.block_k;
    const int count = std::min(policy.block_k, keys - first);
    const float *v = tensors.value(b, g, first);
    const std::vector<double> values(v, v + static_cast<std::ptrdiff_t>(count) * dim_);
    for (int r = 0; r < rows_; ++r) {
      const double *p = scores.data() + static_cast<std::ptrdiff_t>(r) * keys + first;
      const std::size_t i = index(block, r);
      for (int j = 0; j < count; ++j) {
        mass_[i] += p[j];
      }
      reference::multiply_add(p, count, values.data(), dim_, out_.data() + i * dim_);
    }
  }
}

} // namespace sale
