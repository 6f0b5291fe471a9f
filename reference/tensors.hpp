// SPDX-License-Identifier: Apache-2.0
// Q, K and V of one call on the host: floats that hold exact 16-bit values, packed [batch, heads, tokens, channels].
#pragma once

#include "sale/types.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sale::reference {

struct Tensors {
  Shape shape;
  int num_q_heads = 1;
  int num_kv_heads = 1;
  int head_dim = 64;  ///< Any multiple of 8.
  int v_head_dim = 0; ///< Of v and the output: as head_dim, which 0 means.
  std::vector<float> q, k, v;
  bool causal = true;
  int sliding_window = 0;         ///< 0 = none.
  float softcap = 0.0F;           ///< In nats; 0 = none.
  std::vector<float> sink_logits; ///< [num_q_heads], nats; empty = none.

  int v_width() const { return v_head_dim == 0 ? head_dim : v_head_dim; }
  int group() const { return num_q_heads / num_kv_heads; }
  int kv_head(int q_head) const { return q_head / group(); }
  /// Position of row i of the call among the keys.
  int position(int i) const { return shape.kv_len - shape.q_len + i; }
  /// Row i sees the keys [first_key(i), end_key(i)).
  int first_key(int i) const { return sliding_window == 0 ? 0 : std::max(0, position(i) - sliding_window + 1); }
  int end_key(int i) const { return causal ? std::clamp(position(i) + 1, 0, shape.kv_len) : shape.kv_len; }

  /// Index of row i of query head h among all query rows; also of [batch, num_q_heads, q_len] arrays.
  std::size_t q_row(int b, int h, int i) const {
    return (static_cast<std::size_t>(b) * num_q_heads + h) * shape.q_len + i;
  }
  /// Index of key j of KV head g among all keys; also of [batch, num_kv_heads, kv_len] arrays.
  std::size_t kv_row(int b, int g, int j) const {
    return (static_cast<std::size_t>(b) * num_kv_heads + g) * shape.kv_len + j;
  }
  const float *query(int b, int h, int i) const { return q.data() + q_row(b, h, i) * head_dim; }
  const float *key(int b, int g, int j) const { return k.data() + kv_row(b, g, j) * head_dim; }
  const float *value(int b, int g, int j) const { return v.data() + kv_row(b, g, j) * v_width(); }
  std::size_t q_rows() const { return static_cast<std::size_t>(shape.batch) * num_q_heads * shape.q_len; }
  std::size_t kv_rows() const { return static_cast<std::size_t>(shape.batch) * num_kv_heads * shape.kv_len; }
};

/// All but the numbers: q, k and v are empty. sink_logits are zeros where the problem has them.
Tensors describe_tensors(const Problem &problem, const Shape &shape);

/// Zero-filled tensors of the problem's sizes.
Tensors make_tensors(const Problem &problem, const Shape &shape);

/// Throws Error(invalid_argument) when sizes contradict each other.
void validate(const Tensors &tensors);

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

} // namespace sale::reference
