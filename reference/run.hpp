// SPDX-License-Identifier: Apache-2.0
// The whole method on the CPU: the engine of machines without a GPU, and what the kernels are compared with.
#pragma once

#include "reference/attend.hpp"
#include "reference/mask.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale::reference {

struct Result {
  std::vector<float> out; ///< [batch, num_q_heads, q_len, v_head_dim], not rounded to 16 bits.
  std::vector<float> lse; ///< [batch, num_q_heads, q_len]
  Mask mask;
  StageTimes times;
};

/// SALE attention; dense, with every visible block in the mask, where the policy says dense_below. Throws
/// Error(invalid_argument) when arguments contradict each other.
Result run_sale(const Problem &problem, const Policy &policy, const Tensors &tensors);

/// What dense calls keep.
Mask every_visible_block(const Policy &policy, const Tensors &tensors);

/// The last step alone, with the policy's fp8_attend, for which kbar is, and second_filter, for which T is; an empty
/// `threshold` filters nothing.
Attention attend_as_policy_says(const Tensors &tensors, const Policy &policy, float scale,
                                const std::vector<float> &kbar, const Mask &mask, const std::vector<float> &threshold);

/// Attention to every key that a row sees.
Attention run_dense(const Problem &problem, const Tensors &tensors);

} // namespace sale::reference
