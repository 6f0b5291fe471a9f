// SPDX-License-Identifier: Apache-2.0
#include "reference/quantize_fp8.hpp"

#include "core/parallel_for.hpp"
#include "reference/float8.hpp"
#include "reference/linear.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sale::reference {

namespace {

constexpr int keys_per_group = 32;
constexpr int pruning_group = 4;
constexpr float smallest_norm = 0x1p-126F;
constexpr float greatest_key_norm = 0x1p44F;

/// A norm is below 2^height. By the exponent bits alone, so infinity and NaN have a height too.
int height(float n2) {
  const int exponent = static_cast<int>(std::bit_cast<std::uint32_t>(n2) >> 23U & 0xffU) - 127;
  return (exponent >> 1) + 1;
}

float power_of_two(int exponent) { return std::ldexp(1.0F, exponent); }

/// `row` as estimates see it: projected, or restricted to the channels of this batch element and KV head.
std::vector<float> estimate_row(const float *row, const Tensors &tensors, const Policy &policy,
                                const Channels &channels, int b, int g, bool is_key) {
  const int dim = tensors.head_dim;
  const int count = estimate_dim(policy, dim);
  std::vector<float> result(count);
  if (policy.projection.empty()) {
    const int *index = channels.index.data() + (static_cast<std::ptrdiff_t>(b) * tensors.num_kv_heads + g) * count;
    std::transform(index, index + count, result.begin(), [=](int d) { return row[d]; });
    return result;
  }
  const float *weights =
      policy.projection.data() + (static_cast<std::ptrdiff_t>(g) * 2 + (is_key ? 1 : 0)) * count * dim;
  for (int c = 0; c < count; ++c, weights += dim) {
    for (int d = 0; d < dim; ++d) {
      result[c] = std::fma(weights[d], row[d], result[c]);
    }
  }
  return result;
}

/// Of each group of four entries, zeros the two of least |q| * w; of equal ones the later.
void prune(std::vector<float> &row, const float *weights) {
  for (std::size_t first = 0; first < row.size(); first += pruning_group) {
    float sizes[pruning_group];
    int order[pruning_group];
    for (int n = 0; n < pruning_group; ++n) {
      const float size = std::fabs(row[first + n]) * weights[first + n];
      sizes[n] = std::isnan(size) ? std::numeric_limits<float>::infinity() : size;
      order[n] = n;
    }
    std::sort(order, order + pruning_group,
              [&](int a, int b) { return sizes[a] > sizes[b] || (sizes[a] == sizes[b] && a < b); });
    row[first + order[2]] = 0.0F;
    row[first + order[3]] = 0.0F;
  }
}

void encode(const std::vector<float> &row, int exponent, std::int8_t *codes) {
  const float scale = power_of_two(exponent);
  std::transform(row.begin(), row.end(), codes,
                 [=](float x) { return std::bit_cast<std::int8_t>(float_to_e4m3(x * scale)); });
}

float squared_norm(const std::vector<float> &row) {
  return canonical_dot(row.data(), row.data(), static_cast<int>(row.size()));
}

} // namespace

QuantizedKeys quantize_keys_fp8(const Tensors &tensors, const Policy &policy, const std::vector<float> &kbar,
                                const Channels &channels) {
  const int dim = tensors.head_dim;
  const int count = estimate_dim(policy, dim);
  const int groups = ceil_div(tensors.shape.kv_len, keys_per_group);
  const int heads = tensors.shape.batch * tensors.num_kv_heads;
  QuantizedKeys keys;
  keys.codes.resize(tensors.kv_rows() * count);
  keys.scales.resize(static_cast<std::size_t>(heads) * groups);

  parallel_for(static_cast<std::int64_t>(heads) * groups, [&](std::int64_t item) {
    const int head = static_cast<int>(item / groups);
    const int b = head / tensors.num_kv_heads;
    const int g = head % tensors.num_kv_heads;
    const int first = static_cast<int>(item % groups) * keys_per_group;
    const int last = std::min(first + keys_per_group, tensors.shape.kv_len);
    const float *mean = kbar.data() + static_cast<std::ptrdiff_t>(head) * dim;
    std::vector<std::vector<float>> rows;
    float norm = 0.0F;
    for (int j = first; j < last; ++j) {
      std::vector<float> smoothed(dim);
      std::transform(mean, mean + dim, tensors.key(b, g, j), smoothed.begin(), [](float m, float k) { return k - m; });
      rows.push_back(estimate_row(smoothed.data(), tensors, policy, channels, b, g, true));
      const float n2 = squared_norm(rows.back());
      norm = std::isnan(n2) || n2 > norm ? n2 : norm;
    }
    const int exponent = norm < smallest_norm ? 0 : std::clamp(8 - height(norm), -14, 15);
    for (int j = first; j < last; ++j) {
      encode(rows[j - first], exponent, keys.codes.data() + tensors.kv_row(b, g, j) * count);
    }
    keys.scales[item] = norm < greatest_key_norm ? power_of_two(exponent) : std::numeric_limits<float>::quiet_NaN();
  });
  return keys;
}

QuantizedQueries quantize_queries_fp8(const Tensors &tensors, const Policy &policy, const Channels &channels) {
  const int count = estimate_dim(policy, tensors.head_dim);
  const int q_len = tensors.shape.q_len;
  QuantizedQueries queries;
  queries.codes.resize(tensors.q_rows() * count);
  queries.scales.resize(tensors.q_rows());
  queries.norms.resize(tensors.q_rows());

  parallel_for(static_cast<std::int64_t>(tensors.shape.batch) * tensors.num_q_heads, [&](std::int64_t head) {
    const int b = static_cast<int>(head) / tensors.num_q_heads;
    const int h = static_cast<int>(head) % tensors.num_q_heads;
    const int g = tensors.kv_head(h);
    for (int i = 0; i < q_len; ++i) {
      const std::size_t row = tensors.q_row(b, h, i);
      std::vector<float> entries = estimate_row(tensors.query(b, h, i), tensors, policy, channels, b, g, false);
      if (policy.prune_queries) {
        prune(entries, channels.weights.data() + (static_cast<std::ptrdiff_t>(b) * tensors.num_kv_heads + g) * count);
      }
      const float n2 = squared_norm(entries);
      const int exponent = n2 < smallest_norm ? 0 : std::clamp(7 - height(n2), -100, 100);
      encode(entries, exponent, queries.codes.data() + row * count);
      queries.scales[row] = power_of_two(-exponent);
      queries.norms[row] = n2;
    }
  });
  return queries;
}

} // namespace sale::reference
