// SPDX-License-Identifier: Apache-2.0
#include "reference/second_filter.hpp"

#include "core/parallel_for.hpp"
#include "reference/linear.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale::reference {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// 64 rows of one head against 32-key blocks outside R, which are whole and visible to every row.
class RowGroup {
public:
  RowGroup(const Tensors &tensors, const std::vector<float> &threshold, int b, int h, int group)
      : tensors_(tensors), b_(b), g_(tensors.kv_head(h)),
        rows_(std::min(filter_rows, tensors.shape.q_len - group * filter_rows)),
        threshold_(threshold.data() + tensors.q_row(b, h, group * filter_rows)) {
    const float *q = tensors.query(b, h, group * filter_rows);
    queries_.assign(q, q + static_cast<std::ptrdiff_t>(rows_) * tensors.head_dim);
  }

  double margin(int block) {
    keys_.load(tensors_.key(b_, g_, block * filter_keys), filter_keys, tensors_.head_dim);
    double margin = -infinity;
    double scores[filter_keys];
    for (int r = 0; r < rows_; ++r) {
      keys_.scores(queries_.data() + static_cast<std::ptrdiff_t>(r) * tensors_.head_dim, scores);
      for (const double score : scores) {
        const double difference = score - threshold_[r];
        margin = std::isnan(difference) ? infinity : std::max(margin, difference);
      }
    }
    return margin;
  }

private:
  const Tensors &tensors_;
  int b_;
  int g_;
  int rows_;
  const float *threshold_;
  std::vector<double> queries_;
  KeyTile keys_;
};

} // namespace

Margins second_filter_margins(const Tensors &tensors, const Policy &policy, const Mask *mask,
                              const std::vector<float> &threshold) {
  const int heads = tensors.shape.batch * tensors.num_q_heads;
  const int groups = ceil_div(tensors.shape.q_len, filter_rows);
  const int blocks = ceil_div(tensors.shape.kv_len, filter_keys);
  std::vector<double> values(static_cast<std::size_t>(heads) * groups * blocks, -infinity);
  parallel_for(static_cast<std::int64_t>(heads) * groups, [&](std::int64_t item) {
    const int b = static_cast<int>(item / groups) / tensors.num_q_heads;
    const int h = static_cast<int>(item / groups) % tensors.num_q_heads;
    const int group = static_cast<int>(item % groups);
    const int query_block = group * filter_rows / policy.block_q;
    const Region region = region_of(policy, tensors, query_block);
    RowGroup rows(tensors, threshold, b, h, group);
    for (int block = 0; block < blocks; ++block) {
      const int key_block = block * filter_keys / policy.block_k;
      if (region.visible(key_block) && (mask == nullptr || mask->test(b, h, query_block, key_block))) {
        values[item * blocks + block] = region.in_reference(key_block) ? infinity : rows.margin(block);
      }
    }
  });
  return {tensors.num_q_heads, groups, blocks, std::move(values)};
}

Mask second_filter(const Tensors &tensors, const Policy &policy, const Mask *mask,
                   const std::vector<float> &threshold) {
  const Margins margins = second_filter_margins(tensors, policy, mask, threshold);
  Mask kept(tensors.shape, tensors.num_q_heads, filter_rows, filter_keys);
  for (int b = 0; b < kept.batch(); ++b) {
    for (int h = 0; h < kept.num_q_heads(); ++h) {
      for (int m = 0; m < kept.q_blocks(); ++m) {
        for (int j = 0; j < kept.k_blocks(); ++j) {
          kept.set(b, h, m, j, margins.at(b, h, m, j) > 0);
        }
      }
    }
  }
  return kept;
}

} // namespace sale::reference
