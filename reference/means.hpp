// SPDX-License-Identifier: Apache-2.0
// kbar and qbar (docs/numerics.md, section 2): summed in fp64, stored fp32.
#pragma once

#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

/// [batch, num_kv_heads, head_dim]
std::vector<float> mean_keys(const Tensors &tensors);
/// [batch, num_q_heads, head_dim]
std::vector<float> mean_queries(const Tensors &tensors);

} // namespace sale::reference
