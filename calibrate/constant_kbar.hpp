// SPDX-License-Identifier: Apache-2.0
// One mean key per head for all calls (Policy::kbar), in place of each call's own.
#pragma once

#include "reference/tensors.hpp"

#include <vector>

namespace sale {

/// [num_kv_heads, head_dim]: the mean of the samples' means, each batch element counting once.
std::vector<float> constant_kbar(const std::vector<reference::Tensors> &samples);

} // namespace sale
