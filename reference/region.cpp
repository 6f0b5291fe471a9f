// SPDX-License-Identifier: Apache-2.0
#include "reference/region.hpp"

#include <algorithm>

namespace sale::reference {

namespace {

Region two_sided(const Policy &policy, int kv_len, int p0) {
  const int near_first = std::max(0, p0 - policy.window) / policy.block_k;
  const int near_last = ceil_div(std::max(0, p0 + policy.block_q + policy.window), policy.block_k);
  Region region;
  region.visible_blocks = ceil_div(kv_len, policy.block_k);
  region.first_estimated = std::min(ceil_div(policy.sink, policy.block_k), region.visible_blocks);
  region.end_estimated = std::max(kv_len / policy.block_k, region.first_estimated); // a partial block is in R
  region.near_begin = std::clamp(near_first, region.first_estimated, region.end_estimated);
  region.near_end = std::clamp(near_last, region.near_begin, region.end_estimated);
  return region;
}

Region causal(const Policy &policy, int kv_len, int p0, int sliding_window) {
  Region region;
  region.visible_blocks = ceil_div(std::clamp(p0 + policy.block_q, 0, kv_len), policy.block_k);
  region.first_estimated = std::min(ceil_div(policy.sink, policy.block_k), region.visible_blocks);
  if (sliding_window > 0) {
    // Key 0, or the first that a row sees: of the first row, and of the last.
    const int of_first = std::max(0, p0 - sliding_window + 1);
    const int of_last = std::max(0, p0 + policy.block_q - sliding_window);
    region.first_visible = std::min(of_first / policy.block_k, region.visible_blocks);
    region.first_estimated =
        std::min(std::max(region.first_estimated, ceil_div(of_last, policy.block_k)), region.visible_blocks);
  }
  region.end_estimated = std::max(std::max(0, p0 - policy.window) / policy.block_k, region.first_estimated);
  region.near_begin = region.end_estimated;
  region.near_end = region.end_estimated;
  return region;
}

} // namespace

Region region_of(const Policy &policy, const Tensors &tensors, int query_block) {
  const int kv_len = tensors.shape.kv_len;
  const int p0 = tensors.position(query_block * policy.block_q);
  return tensors.causal ? causal(policy, kv_len, p0, tensors.sliding_window) : two_sided(policy, kv_len, p0);
}

Region region_of(const Policy &policy, const Problem &problem, const Shape &shape, int query_block) {
  return region_of(policy, describe_tensors(problem, shape), query_block);
}

Region region_of(const Policy &policy, const Shape &shape, int query_block) {
  return region_of(policy, Problem(), shape, query_block);
}

float tau_of(const Policy &policy, int q_head) {
  return policy.tau_per_head.empty() ? policy.tau : policy.tau_per_head[q_head];
}

float shift_of(const Policy &policy, int q_head) {
  return policy.shift_per_head.empty() ? 0.0F : policy.shift_per_head[q_head];
}

} // namespace sale::reference
