// SPDX-License-Identifier: Apache-2.0
// kbar and qbar (docs/numerics.md, section 2): summed in fp64, stored fp32.
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale::reference {

/// [batch, num_kv_heads, head_dim]
std::vector<float> mean_keys(const Tensors &tensors);
/// The same, or the policy's for every batch element.
std::vector<float> kbar_of(const Tensors &tensors, const Policy &policy);
/// [batch, num_q_heads, head_dim]
std::vector<float> mean_queries(const Tensors &tensors);

} // namespace sale::reference
