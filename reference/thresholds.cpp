// SPDX-License-Identifier: Apache-2.0
#include "reference/thresholds.hpp"

#include "reference/linear.hpp"
#include "core/parallel_for.hpp"
#include "reference/element.hpp"
#include "reference/region.hpp"
#include "reference/softcap.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace sale::reference {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Scores of every row of a query block against the keys of R, then m, l and T.
void threshold_block(const Tensors &tensors, const Policy &policy, double scale, int b, int h, int query_block,
                     Thresholds &result) {
  const Region region = region_of(policy, tensors, query_block);
  const int first_row = query_block * policy.block_q;
  const int rows = std::min(policy.block_q, tensors.shape.q_len - first_row);
  std::vector<std::vector<double>> scores(rows);
  KeyTile tile;
  std::vector<double> tile_scores(policy.block_k);
  for (int block = region.first_visible; block < region.visible_blocks; ++block) {
    if (!region.in_reference(block)) {
      continue;
    }
    const int first_key = block * policy.block_k;
    tile.load(tensors.key(b, tensors.kv_head(h), first_key), std::min(policy.block_k, tensors.shape.kv_len - first_key),
              tensors.head_dim);
    for (int r = 0; r < rows; ++r) {
      const float *q = tensors.query(b, h, first_row + r);
      tile.scores(std::vector<double>(q, q + tensors.head_dim).data(), tile_scores.data());
      const int begin = std::clamp(tensors.first_key(first_row + r) - first_key, 0, tile.count());
      const int end = std::clamp(tensors.end_key(first_row + r) - first_key, begin, tile.count());
      std::transform(tile_scores.begin() + begin, tile_scores.begin() + end, std::back_inserter(scores[r]),
                     [&](double x) { return softcapped(tensors, scale, x); });
    }
  }
  for (int r = 0; r < rows; ++r) {
    if (!tensors.sink_logits.empty() && std::isfinite(tensors.sink_logits[h])) {
      scores[r].push_back(tensors.sink_logits[h] / scale); // one more logit
    }
    double m = -infinity;
    for (const double x : scores[r]) {
      m = std::max(m, x);
    }
    double l = 0.0;
    for (const double x : scores[r]) {
      l += std::exp(scale * (x - m));
    }
    const std::size_t row = tensors.q_row(b, h, first_row + r);
    result.m[row] = m;
    result.l[row] = l;
    const double t = m + std::log(static_cast<double>(tau_of(policy, h)) * l) / scale;
    result.value[row] = static_cast<float>(before_softcap(tensors, scale, t));
  }
}

} // namespace

Thresholds thresholds(const Tensors &tensors, const Policy &policy, float scale) {
  Thresholds result;
  result.m.resize(tensors.q_rows());
  result.l.resize(tensors.q_rows());
  result.value.resize(tensors.q_rows());
  const int q_blocks = ceil_div(tensors.shape.q_len, policy.block_q);
  parallel_for(static_cast<std::int64_t>(tensors.shape.batch) * tensors.num_q_heads * q_blocks, [&](std::int64_t item) {
    const int head = static_cast<int>(item / q_blocks);
    threshold_block(tensors, policy, scale, head / tensors.num_q_heads, head % tensors.num_q_heads,
                    static_cast<int>(item % q_blocks), result);
  });
  return result;
}

FrameThresholds frame_thresholds(const Tensors &tensors, const Policy &policy, float scale,
                                 const std::vector<float> &kbar, const std::vector<float> &threshold,
                                 const QuantizedQueries &queries) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  FrameThresholds result;
  result.offset.resize(tensors.q_rows());
  result.theta.resize(tensors.q_rows());
  result.theta16.resize(policy.estimator == Estimator::fp8 ? tensors.q_rows() : 0);
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int h = 0; h < tensors.num_q_heads; ++h) {
      const std::size_t kv_head = static_cast<std::size_t>(b) * tensors.num_kv_heads + tensors.kv_head(h);
      const float shift = shift_of(policy, h) / scale;
      for (int i = 0; i < tensors.shape.q_len; ++i) {
        const std::size_t row = tensors.q_row(b, h, i);
        float &n = result.offset[row];
        float &theta = result.theta[row];
        if (policy.estimator == Estimator::exact) {
          n = threshold[row] - shift;
          theta = n;
          continue;
        }
        const float along_mean =
            canonical_dot(tensors.query(b, h, i), kbar.data() + kv_head * tensors.head_dim, tensors.head_dim);
        n = (threshold[row] - along_mean) - shift;
        const float sq = queries.scales[row];
        if (policy.estimator == Estimator::fp8) {
          theta = std::isfinite(queries.norms[row]) ? n / sq : std::numeric_limits<float>::quiet_NaN();
          result.theta16[row] = f16_to_float(float_to_f16_down(theta));
        } else if (sq != 0.0F) {
          theta = n / sq;
        } else if (policy.estimator == Estimator::int4) {
          theta = inf; // 0/0 never selects
        } else {
          theta = std::isnan(n) ? n : n < 0.0F ? -inf : inf; // every estimate is 0
        }
      }
    }
  }
  return result;
}

} // namespace sale::reference
