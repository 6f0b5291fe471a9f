// SPDX-License-Identifier: Apache-2.0
// The pair of projections whose inner product is nearest to q . k': the QK-balanced basis of docs/quality.md.
#pragma once

#include "calibrate/shift.hpp"

#include <vector>

namespace sale {

/// Policy::projection, [num_kv_heads, 2, estimate_dim, head_dim], from the second moments of Q and of K - kbar: the
/// best of that rank in the mean square of q . k' - (A q) . (B k'), over all samples and batch elements. Only queries
/// of `part` count.
std::vector<float> balanced_projection(const std::vector<const reference::Tensors *> &samples, const Policy &policy,
                                       Part part);

} // namespace sale
