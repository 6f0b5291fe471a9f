// SPDX-License-Identifier: Apache-2.0
// Codes and scales of K and Q; the integer ones (docs/numerics.md, section 5), bit for bit what the kernels compute.
#pragma once

#include "reference/tensors.hpp"

#include <cstdint>
#include <vector>

namespace sale::reference {

struct QuantizedKeys {
  int groups_per_block = 1;       ///< Scale groups per 32 keys: int8 1, int4 4.
  std::vector<std::int8_t> codes; ///< [batch, num_kv_heads, kv_len, head_dim]; fp8: estimate_dim entries, e4m3 bytes
  std::vector<float> scales;      ///< sk (fp8: 2^xk): [batch, num_kv_heads, ceil(kv_len / 32), groups_per_block]
  std::vector<float> bias;        ///< int4 bk: [batch, num_q_heads, kv_len]

  /// Index into scales of the group of key j.
  std::size_t group(const Tensors &tensors, int b, int kv_head, int j) const;
};

struct QuantizedQueries {
  std::vector<std::int8_t> codes; ///< [batch, num_q_heads, q_len, head_dim]; fp8: estimate_dim entries, e4m3 bytes
  std::vector<float> scales;      ///< sq: [batch, num_q_heads, q_len]
  std::vector<float> norms;       ///< fp8 n2: as scales
};

/// Empty for Estimator::exact and fp8, which has functions of its own (quantize_fp8.hpp). kbar is [batch, num_kv_heads,
/// head_dim]; qbar, [batch, num_q_heads, head_dim], is read by int4 only.
QuantizedKeys quantize_keys(const Tensors &tensors, Estimator estimator, const std::vector<float> &kbar,
                            const std::vector<float> &qbar);
QuantizedQueries quantize_queries(const Tensors &tensors, Estimator estimator, const std::vector<float> &qbar);

} // namespace sale::reference
