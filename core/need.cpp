// SPDX-License-Identifier: Apache-2.0
#include "core/need.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace sale {

HeadArrays head_arrays(const Policy &policy) { return {!policy.channels.empty(), !policy.projection.empty()}; }

Need smallest_need(const Problem &problem, const Policy &policy, const Serving &serving, const HeadArrays &arrays) {
  validate(problem);
  Need need{problem, policy, serving};
  need.problem.num_q_heads = problem.num_q_heads / problem.num_kv_heads;
  need.problem.num_kv_heads = 1;
  need.policy.tau_per_head.clear();
  need.policy.shift_per_head.clear();
  // Bounded, for what the estimate_dim of a command line or a file says is checked only after this.
  const int most = problem.head_dim;
  const int width = std::clamp(policy.estimate_dim, 0, most);
  need.policy.channels.resize(arrays.channels ? static_cast<std::size_t>(width) : 0);
  std::iota(need.policy.channels.begin(), need.policy.channels.end(), 0);
  const int rows = width == 0 ? most : width;
  need.policy.projection.assign(arrays.projection ? std::size_t{2} * static_cast<std::size_t>(rows * most) : 0, 0.0F);
  return need;
}

} // namespace sale
