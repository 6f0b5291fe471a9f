// SPDX-License-Identifier: Apache-2.0
#include "reference/quantize.hpp"

#include "reference/linear.hpp"
#include "core/parallel_for.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace sale::reference {

namespace {

constexpr int keys_per_block = 32;
constexpr int rows_per_slab = 16;
constexpr int int4_row_groups = 8; // per slab

/// The int4 scale groups of key j within its block and of row r within its slab.
int int4_key_group(int j) { return (j % 8) / 2; }
int int4_row_group(int r) { return r % int4_row_groups; }

bool is_integer(Estimator estimator) { return estimator == Estimator::int8 || estimator == Estimator::int4; }

float max_propagating_nan(float a, float b) { return std::isnan(a) || a > b ? a : b; }

/// Codes of one group of rows that share a scale; returns the scale.
float quantize_group(std::span<const float *const> rows, std::span<std::int8_t *const> codes, int head_dim,
                     float limit) {
  float amax = 0.0F;
  for (const float *row : rows) {
    for (int d = 0; d < head_dim; ++d) {
      amax = max_propagating_nan(amax, std::fabs(row[d]));
    }
  }
  const float reciprocal = limit / amax;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (int d = 0; d < head_dim; ++d) {
      const float code = std::clamp(std::nearbyint(rows[r][d] * reciprocal), -limit, limit);
      codes[r][d] = amax == 0.0F || std::isnan(code) ? std::int8_t{0} : static_cast<std::int8_t>(code);
    }
  }
  return amax / limit;
}

/// `rows` minus `mean`, each difference rounded once.
std::vector<float> smoothed(const float *rows, int count, const float *mean, int head_dim) {
  std::vector<float> result(static_cast<std::size_t>(count) * head_dim);
  for (int r = 0; r < count; ++r) {
    for (int d = 0; d < head_dim; ++d) {
      const std::size_t i = static_cast<std::size_t>(r) * head_dim + d;
      result[i] = rows[i] - mean[d];
    }
  }
  return result;
}

/// Quantizes consecutive rows whose group within the block is group_of(row in block).
template <class GroupOf>
void quantize_block(const float *rows, std::int8_t *codes, int count, int head_dim, float limit, int groups,
                    GroupOf group_of, float *scales) {
  for (int group = 0; group < groups; ++group) {
    std::vector<const float *> members;
    std::vector<std::int8_t *> member_codes;
    for (int r = 0; r < count; ++r) {
      if (group_of(r) == group) {
        members.push_back(rows + static_cast<std::ptrdiff_t>(r) * head_dim);
        member_codes.push_back(codes + static_cast<std::ptrdiff_t>(r) * head_dim);
      }
    }
    scales[group] = quantize_group(members, member_codes, head_dim, limit);
  }
}

} // namespace

std::size_t QuantizedKeys::group(const Tensors &tensors, int b, int kv_head, int j) const {
  const std::size_t blocks = ceil_div(tensors.shape.kv_len, keys_per_block);
  const std::size_t block =
      (static_cast<std::size_t>(b) * tensors.num_kv_heads + kv_head) * blocks + j / keys_per_block;
  return block * groups_per_block + (groups_per_block == 1 ? 0 : int4_key_group(j));
}

QuantizedKeys quantize_keys(const Tensors &tensors, Estimator estimator, const std::vector<float> &kbar,
                            const std::vector<float> &qbar) {
  QuantizedKeys keys;
  if (!is_integer(estimator)) {
    return keys;
  }
  const bool int4 = estimator == Estimator::int4;
  const int dim = tensors.head_dim;
  const int blocks = ceil_div(tensors.shape.kv_len, keys_per_block);
  const int heads = tensors.shape.batch * tensors.num_kv_heads;
  keys.groups_per_block = int4 ? 4 : 1;
  keys.codes.resize(tensors.k.size());
  keys.scales.resize(static_cast<std::size_t>(heads) * blocks * keys.groups_per_block);
  keys.bias.resize(int4 ? static_cast<std::size_t>(tensors.shape.batch) * tensors.num_q_heads * tensors.shape.kv_len
                        : 0);

  parallel_for(static_cast<std::int64_t>(heads) * blocks, [&](std::int64_t item) {
    const int block = static_cast<int>(item % blocks);
    const int b = static_cast<int>(item / blocks) / tensors.num_kv_heads;
    const int g = static_cast<int>(item / blocks) % tensors.num_kv_heads;
    const int first = block * keys_per_block;
    const int count = std::min(keys_per_block, tensors.shape.kv_len - first);
    const std::size_t head = static_cast<std::size_t>(b) * tensors.num_kv_heads + g;
    const std::vector<float> rows = smoothed(tensors.key(b, g, first), count, kbar.data() + head * dim, dim);
    quantize_block(
        rows.data(), keys.codes.data() + tensors.kv_row(b, g, first) * dim, count, dim, int4 ? 7.0F : 127.0F,
        keys.groups_per_block, [&](int r) { return int4 ? int4_key_group(r) : 0; },
        keys.scales.data() + item * keys.groups_per_block);
    if (!int4) {
      return;
    }
    for (int h = g * tensors.group(); h < (g + 1) * tensors.group(); ++h) {
      const std::size_t q_head = static_cast<std::size_t>(b) * tensors.num_q_heads + h;
      for (int r = 0; r < count; ++r) {
        const float dot =
            canonical_dot(qbar.data() + q_head * dim, rows.data() + static_cast<std::ptrdiff_t>(r) * dim, dim);
        keys.bias[q_head * tensors.shape.kv_len + first + r] = dot / keys.scales[keys.group(tensors, b, g, first + r)];
      }
    }
  });
  return keys;
}

QuantizedQueries quantize_queries(const Tensors &tensors, Estimator estimator, const std::vector<float> &qbar) {
  QuantizedQueries queries;
  if (!is_integer(estimator)) {
    return queries;
  }
  const int dim = tensors.head_dim;
  const int q_len = tensors.shape.q_len;
  queries.codes.resize(tensors.q.size());
  queries.scales.resize(tensors.q_rows());

  const int slabs = ceil_div(q_len, rows_per_slab);
  const std::vector<float> zero(dim);
  parallel_for(static_cast<std::int64_t>(tensors.shape.batch) * tensors.num_q_heads * slabs, [&](std::int64_t item) {
    const std::int64_t head = item / slabs;
    const int first = static_cast<int>(item % slabs) * rows_per_slab;
    const int count = std::min(rows_per_slab, q_len - first);
    const std::size_t row = head * q_len + first;
    const float *q = tensors.q.data() + row * dim;
    std::int8_t *codes = queries.codes.data() + row * dim;
    float *scales = queries.scales.data() + row;
    if (estimator == Estimator::int8) {
      quantize_block(q, codes, count, dim, 127.0F, count, [](int r) { return r; }, scales);
      return;
    }
    const std::vector<float> rows = smoothed(q, count, qbar.data() + head * dim, dim);
    std::array<float, int4_row_groups> group_scales{};
    quantize_block(rows.data(), codes, count, dim, 7.0F, int4_row_groups, int4_row_group, group_scales.data());
    for (int r = 0; r < count; ++r) {
      scales[r] = group_scales[int4_row_group(r)];
    }
  });
  return queries;
}

} // namespace sale::reference
