// SPDX-License-Identifier: Apache-2.0
#include "reference/region.hpp"

#include "reference/tensors.hpp"

#include <algorithm>

namespace sale::reference {

Region region_of(const Policy &policy, const Shape &shape, int query_block) {
  const int p0 = shape.kv_len - shape.q_len + query_block * policy.block_q;
  const int window_start = std::max(0, p0 - policy.window);
  const int first = ceil_div(policy.sink, policy.block_k);
  Region region;
  region.visible_blocks = ceil_div(std::min(p0 + policy.block_q, shape.kv_len), policy.block_k);
  region.first_estimated = std::min(first, region.visible_blocks);
  region.end_estimated = std::max(window_start / policy.block_k, region.first_estimated);
  return region;
}

float tau_of(const Policy &policy, int q_head) {
  return policy.tau_per_head.empty() ? policy.tau : policy.tau_per_head[q_head];
}

float shift_of(const Policy &policy, int q_head) {
  return policy.shift_per_head.empty() ? 0.0F : policy.shift_per_head[q_head];
}

} // namespace sale::reference
