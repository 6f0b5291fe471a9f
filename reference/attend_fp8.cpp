// SPDX-License-Identifier: Apache-2.0
#include "reference/attend_fp8.hpp"

#include "core/parallel_for.hpp"
#include "reference/channels.hpp"
#include "reference/float8.hpp"
#include "reference/linear.hpp"
#include "reference/quantize_fp8.hpp"
#include "reference/select.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

namespace sale::reference {

namespace {

constexpr int keys_per_group = 32;

/// NaN if one of both is.
float larger_magnitude(float amax, float x) { return std::fabs(x) <= amax || std::isnan(amax) ? amax : std::fabs(x); }

/// amax * 2^xv is in (224, 448].
int value_exponent(float amax) {
  if (amax == 0.0F) {
    return 0;
  }
  if (!std::isfinite(amax)) {
    return -100;
  }
  const int exponent = std::ilogb(amax);
  return std::clamp(amax <= std::ldexp(1.75F, exponent) ? 8 - exponent : 7 - exponent, -100, 100);
}

float value_of(std::int8_t code) { return e4m3_values()[static_cast<std::uint8_t>(code)]; }

std::size_t scale_index(const Tensors &tensors, std::size_t kv_row) {
  const std::size_t groups = ceil_div(tensors.shape.kv_len, keys_per_group);
  return kv_row / tensors.shape.kv_len * groups + kv_row % tensors.shape.kv_len / keys_per_group;
}

/// q . kbar of every query row.
std::vector<float> along_mean(const Tensors &tensors, const std::vector<float> &kbar) {
  std::vector<float> result;
  result.reserve(tensors.q_rows());
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int h = 0; h < tensors.num_q_heads; ++h) {
      const std::size_t kv_head = static_cast<std::size_t>(b) * tensors.num_kv_heads + tensors.kv_head(h);
      const float *mean = kbar.data() + kv_head * tensors.head_dim;
      for (int i = 0; i < tensors.shape.q_len; ++i) {
        result.push_back(canonical_dot(tensors.query(b, h, i), mean, tensors.head_dim));
      }
    }
  }
  return result;
}

/// Of scale * log2(e), in [1, 2).
float scale_mantissa(float scale) {
  int exponent = 0;
  return 2 * std::frexp(scale * std::numbers::log2e_v<float>, &exponent);
}

Tensors with_queries_times(Tensors tensors, float factor) {
  std::transform(tensors.q.begin(), tensors.q.end(), tensors.q.begin(), [=](float x) { return x * factor; });
  return tensors;
}

struct Codes {
  QuantizedKeys keys;
  QuantizedQueries queries;
  float mantissa; ///< That codes of Q hold besides.
};

/// With all channels.
Codes codes_of(const Tensors &tensors, const std::vector<float> &kbar, float scale) {
  Policy policy;
  policy.estimator = Estimator::fp8;
  const Channels channels = choose_channels(tensors, policy, kbar);
  const float mantissa = scale_mantissa(scale);
  return {quantize_keys_fp8(tensors, policy, kbar, channels),
          quantize_queries_fp8(with_queries_times(tensors, mantissa), policy, channels), mantissa};
}

} // namespace

QuantizedValues quantize_values_fp8(const Tensors &tensors) {
  const std::size_t heads = static_cast<std::size_t>(tensors.shape.batch) * tensors.num_kv_heads;
  const std::size_t size = static_cast<std::size_t>(tensors.shape.kv_len) * tensors.head_dim;
  QuantizedValues values;
  values.codes.resize(tensors.v.size());
  values.scales.resize(heads);
  parallel_for(static_cast<std::int64_t>(heads), [&](std::int64_t head) {
    const float *v = tensors.v.data() + head * size;
    const int exponent = value_exponent(std::accumulate(v, v + size, 0.0F, larger_magnitude));
    std::transform(v, v + size, values.codes.data() + head * size,
                   [=](float x) { return std::bit_cast<std::int8_t>(float_to_e4m3(std::ldexp(x, exponent))); });
    values.scales[head] = std::ldexp(1.0F, -exponent);
  });
  return values;
}

Tensors fp8_operands(const Tensors &tensors, const std::vector<float> &kbar, float scale) {
  const auto [keys, queries, mantissa] = codes_of(tensors, kbar, scale);
  const QuantizedValues values = quantize_values_fp8(tensors);
  Tensors operands = tensors;
  const std::size_t dim = tensors.head_dim;
  for (std::size_t i = 0; i < operands.q.size(); ++i) {
    operands.q[i] = value_of(queries.codes[i]) * queries.scales[i / dim] / mantissa;
  }
  const std::size_t values_per_head = dim * tensors.shape.kv_len;
  for (std::size_t i = 0; i < operands.k.size(); ++i) {
    operands.k[i] = value_of(keys.codes[i]) / keys.scales[scale_index(tensors, i / dim)];
    operands.v[i] = value_of(values.codes[i]) * values.scales[i / values_per_head];
  }
  return operands;
}

double fp8_score_bound(const Tensors &tensors, const std::vector<float> &kbar, float scale) {
  const auto [keys, queries, mantissa] = codes_of(tensors, kbar, scale);
  const double unit = *std::max_element(queries.scales.begin(), queries.scales.end()) /
                      *std::min_element(keys.scales.begin(), keys.scales.end()) / mantissa;
  return unit * fp8_sum_bound(tensors.head_dim);
}

Attention attend_fp8(const Tensors &tensors, float scale, const std::vector<float> &kbar, const Mask *mask, int block_q,
                     int block_k) {
  Attention result = attend(fp8_operands(tensors, kbar, scale), scale, mask, block_q, block_k);
  const std::vector<float> offsets = along_mean(tensors, kbar);
  for (std::size_t row = 0; row < offsets.size(); ++row) {
    result.lse[row] += scale * offsets[row];
  }
  return result;
}

std::vector<float> fp8_filter_thresholds(const Tensors &tensors, const std::vector<float> &kbar,
                                         const std::vector<float> &threshold) {
  std::vector<float> result = along_mean(tensors, kbar);
  std::transform(threshold.begin(), threshold.end(), result.begin(), result.begin(), std::minus<>());
  return result;
}

} // namespace sale::reference
