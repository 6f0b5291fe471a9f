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

/// The policy's own channels; where its estimate sees fewer than head_dim and it has none, those of channels_by_energy.
std::vector<int> static_channels(const std::vector<reference::Tensors> &samples, const Policy &policy, Part part);

} // namespace sale
