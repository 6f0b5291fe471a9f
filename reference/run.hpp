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
  std::vector<float> out; ///< [batch, num_q_heads, q_len, head_dim], not rounded to 16 bits.
  std::vector<float> lse; ///< [batch, num_q_heads, q_len]
  Mask mask;
  StageTimes times;
};

/// SALE attention. Throws Error(invalid_argument) when arguments contradict each other.
Result run_sale(const Problem &problem, const Policy &policy, const Tensors &tensors);

/// Dense causal attention.
Attention run_dense(const Problem &problem, const Tensors &tensors);

} // namespace sale::reference
