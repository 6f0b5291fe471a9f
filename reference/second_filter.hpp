// SPDX-License-Identifier: Apache-2.0
// What attend computes of the kept blocks when the second filter is on (docs/numerics.md, section 13).
#pragma once

#include "reference/mask.hpp"
#include "reference/select.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

/// The second filter decides for 64 rows and 32 keys at a time, whatever the mask's blocks.
constexpr int filter_rows = 64;
constexpr int filter_keys = 32;

/// A mask of filter_rows x filter_keys blocks for `attend`. `mask` has the policy's block sizes, null keeps every
/// visible block; `threshold` is T, [batch, num_q_heads, q_len].
Mask second_filter(const Tensors &tensors, const Policy &policy, const Mask *mask, const std::vector<float> &threshold);

/// Of each such block the maximum of x_ij - T_i. +infinity where the filter does not decide, -infinity where the mask
/// has kept nothing.
Margins second_filter_margins(const Tensors &tensors, const Policy &policy, const Mask *mask,
                              const std::vector<float> &threshold);

} // namespace sale::reference
