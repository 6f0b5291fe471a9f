// SPDX-License-Identifier: Apache-2.0
// Attention with Q, K and V in e4m3, everything else in fp64 (docs/numerics.md, section 14).
#pragma once

#include "reference/attend.hpp"
#include "reference/mask.hpp"
#include "reference/tensors.hpp"

#include <cstdint>
#include <vector>

namespace sale::reference {

struct QuantizedValues {
  std::vector<std::int8_t> codes; ///< [batch, num_kv_heads, kv_len, head_dim], e4m3 bytes
  std::vector<float> scales;      ///< 2^-xv, what codes are multiplied with: [batch, num_kv_heads]
};
QuantizedValues quantize_values_fp8(const Tensors &tensors);

/// Q, K - kbar and V as their codes have them. Codes of Q hold the mantissa of the softmax scale in log2 units.
Tensors fp8_operands(const Tensors &tensors, const std::vector<float> &kbar, float scale);

/// How far a kernel's score, a sum in f16, may be from theirs: in units of q . k.
double fp8_score_bound(const Tensors &tensors, const std::vector<float> &kbar, float scale);

/// How far the logarithm of a kernel's sum may be from exact: e4m3 codes of probabilities are straight lines between
/// powers of two, rounded, at most 8 % below and 7 % above what they stand for.
constexpr double fp8_lse_bound = 0.09;

/// As `attend`; kbar is [batch, num_kv_heads, head_dim].
Attention attend_fp8(const Tensors &tensors, float scale, const std::vector<float> &kbar, const Mask *mask,
                     int block_q = 64, int block_k = 64);

/// T in the frame of fp8_operands, for the second filter: T_i - q_i . kbar.
std::vector<float> fp8_filter_thresholds(const Tensors &tensors, const std::vector<float> &kbar,
                                         const std::vector<float> &threshold);

} // namespace sale::reference
