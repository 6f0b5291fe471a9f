// SPDX-License-Identifier: Apache-2.0
// Attention over the kept blocks in fp64 (docs/numerics.md, section 8; probabilities and output are not rounded to 16
// bits here).
#pragma once

#include "reference/mask.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

struct Attention {
  std::vector<float> out; ///< [batch, num_q_heads, q_len, v_head_dim]; empty when only lse was asked for.
  std::vector<float>
      lse; ///< [batch, num_q_heads, q_len], natural log, scale applied; -infinity for rows that see nothing.
};

/// A null mask keeps every visible key; block sizes must be those of the mask.
Attention attend(const Tensors &tensors, float scale, const Mask *mask, int block_q = 64, int block_k = 64);

/// Only the log of the sum of exponentials over kept visible keys, in fp64: [batch, num_q_heads, q_len].
std::vector<double> log_sum_exp(const Tensors &tensors, float scale, const Mask *mask, int block_q = 64,
                                int block_k = 64);

} // namespace sale::reference
