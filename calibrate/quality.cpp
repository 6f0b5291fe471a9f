// SPDX-License-Identifier: Apache-2.0
#include "calibrate/quality.hpp"

#include "core/parallel_for.hpp"
#include "reference/linear.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace sale {

using reference::ceil_div;
using reference::Mask;
using reference::Region;
using reference::region_of;
using reference::Tensors;

namespace {

/// Unnormalised attention of one query block, key block by key block, so that a mask's output is a sum over its blocks.
class PartialAttention {
public:
  PartialAttention(const Tensors &tensors, const Policy &policy, float scale, int b, int h, int query_block)
      : dim_(tensors.v_width()), first_row_(query_block * policy.block_q),
        rows_(std::min(policy.block_q, tensors.shape.q_len - first_row_)),
        blocks_(region_of(policy, tensors, query_block).visible_blocks),
        mass_(static_cast<std::size_t>(blocks_) * rows_), out_(mass_.size() * dim_) {
    const int keys = std::min(blocks_ * policy.block_k, tensors.shape.kv_len);
    const int g = tensors.kv_head(h);
    const int head_dim = tensors.head_dim;
    std::vector<double> scores(static_cast<std::size_t>(rows_) * keys);
    reference::KeyTile tile;
    std::vector<double> tile_scores(policy.block_k);
    const float *q = tensors.query(b, h, first_row_);
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
      const int seen = tensors.position(first_row_ + r) + 1;
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
        const std::size_t i = static_cast<std::size_t>(block) * rows_ + r;
        for (int j = 0; j < count; ++j) {
          mass_[i] += p[j];
        }
        reference::multiply_add(p, count, values.data(), dim_, out_.data() + i * dim_);
      }
    }
  }

  int first_row() const { return first_row_; }
  int rows() const { return rows_; }

  /// Adds the kept blocks of a row up: its output, not divided by the mass that is returned.
  template <class Keeps>
  double gather(int row, Keeps keeps, std::vector<double> &out) const {
    out.assign(dim_, 0.0);
    double mass = 0.0;
    for (int block = 0; block < blocks_; ++block) {
      if (keeps(block)) {
        const std::size_t i = static_cast<std::size_t>(block) * rows_ + row;
        mass += mass_[i];
        for (int d = 0; d < dim_; ++d) {
          out[d] += out_[i * dim_ + d];
        }
      }
    }
    return mass;
  }

private:
  int dim_; // of the output
  int first_row_;
  int rows_;
  int blocks_;
  std::vector<double> mass_; // [block, row]
  std::vector<double> out_;  // [block, row, dim_]
};

} // namespace

Mask mask_at(const Tensors &tensors, const Policy &policy, const std::vector<HeadBlocks> &heads,
             const std::vector<double> &shifts) {
  Mask mask(tensors.shape, tensors.num_q_heads, policy.block_q, policy.block_k);
  for (int h = 0; h < tensors.num_q_heads; ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const Region region = region_of(policy, tensors, m);
      for (int j = 0; j < region.visible_blocks; ++j) {
        for (int b = 0; b < tensors.shape.batch && region.in_reference(j); ++b) {
          mask.set(b, h, m, j);
        }
      }
    }
    for (const Block &block : heads[h]) {
      if (block.margin > -shifts[h]) {
        mask.set(block.batch, h, block.query_block, block.key_block);
      }
    }
  }
  return mask;
}

std::vector<MaskQuality> judge_masks(const Tensors &tensors, const Policy &policy, float scale,
                                     const std::vector<Mask> &masks, Part part) {
  std::vector<MaskQuality> result(masks.size());
  std::mutex mutex; // of the result
  const int q_blocks = ceil_div(tensors.shape.q_len, policy.block_q);
  const int heads = tensors.shape.batch * tensors.num_q_heads;
  parallel_for(static_cast<std::int64_t>(heads) * q_blocks, [&](std::int64_t item) {
    const int b = static_cast<int>(item % heads) / tensors.num_q_heads;
    const int h = static_cast<int>(item % heads) % tensors.num_q_heads;
    const int m = q_blocks - 1 - static_cast<int>(item / heads); // the heaviest first
    if (!is_in(part, m)) {
      return;
    }
    const PartialAttention attention(tensors, policy, scale, b, h, m);
    std::vector<MaskQuality> own(masks.size());
    std::vector<double> dense;
    std::vector<double> out;
    for (int r = 0; r < attention.rows(); ++r) {
      const double total = attention.gather(r, [](int) { return true; }, dense);
      double size = 0.0;
      for (const double x : dense) {
        size += std::fabs(x / total);
      }
      for (std::size_t i = 0; i < masks.size(); ++i) {
        const double kept = attention.gather(r, [&](int j) { return masks[i].test(b, h, m, j); }, out);
        own[i].recall.push_back(kept / total);
        own[i].size += size;
        for (std::size_t d = 0; d < dense.size(); ++d) {
          own[i].difference += std::fabs(out[d] / kept - dense[d] / total);
        }
      }
    }
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      result[i].recall.insert(result[i].recall.end(), own[i].recall.begin(), own[i].recall.end());
      result[i].difference += own[i].difference;
      result[i].size += own[i].size;
    }
  });
  return result;
}

} // namespace sale
