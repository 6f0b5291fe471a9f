// SPDX-License-Identifier: Apache-2.0
// Which channels fp8 estimates see, and how they weigh when queries are pruned (docs/numerics.md, section 12).
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale::reference {

/// d': entries of a row of codes.
inline int estimate_dim(const Policy &policy, int head_dim) {
  return policy.estimate_dim == 0 ? head_dim : policy.estimate_dim;
}

/// Both [batch, num_kv_heads, head_dim], over the tokens whose index is a multiple of 8.
struct Energies {
  std::vector<double> queries; ///< Of all query heads of the group.
  std::vector<double> keys;    ///< Of K - kbar.
};
Energies channel_energies(const Tensors &tensors, const std::vector<float> &kbar);

/// Both [batch, num_kv_heads, d'].
struct Channels {
  std::vector<int> index;     ///< C, ascending; empty with a projection.
  std::vector<float> weights; ///< w; empty unless queries are pruned.
};

/// The policy's channels, else those of largest energy.
Channels choose_channels(const Tensors &tensors, const Policy &policy, const std::vector<float> &kbar);

} // namespace sale::reference
