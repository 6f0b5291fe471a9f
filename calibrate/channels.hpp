// SPDX-License-Identifier: Apache-2.0
// Static channels of a cheap fp8 estimate, by the energy of q_c k_c over calibration data (docs/numerics.md, section
// 12).
#pragma once

#include "calibrate/shift.hpp"

#include <vector>

namespace sale {

/// [num_kv_heads, policy.estimate_dim], ascending per head: the channels of largest energy, summed over all samples and
/// batch elements. Only queries of `part` count.
std::vector<int> channels_by_energy(const std::vector<const reference::Tensors *> &samples, const Policy &policy,
                                    Part part = Part::whole);

/// Fills in what a policy whose estimate sees fewer than head_dim channels lacks: channels, those of
/// channels_by_energy, or if `project` balanced_projection. A policy that has either keeps it.
void choose_estimate(Policy &policy, const std::vector<reference::Tensors> &samples, bool project, Part part);

} // namespace sale
