// SPDX-License-Identifier: Apache-2.0
// How sparse and how good a result is (docs/numerics.md, section 10).
#pragma once

#include "reference/mask.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

/// Kept blocks / visible blocks. 0 where there is no block to count.
struct Density {
  double total = 0;             ///< R included.
  double estimated = 0;         ///< Outside R only.
  std::vector<double> per_head; ///< [num_q_heads], R included, over the whole batch.
};
Density density(const Mask &mask, const Policy &policy, const Problem &problem, const Shape &shape);
/// Of plain causal attention.
Density density(const Mask &mask, const Policy &policy, const Shape &shape);

/// sum |out - dense| / sum |dense|.
double rel_l1(const std::vector<float> &out, const std::vector<float> &dense);
/// out . dense / (|out| |dense|) over all elements.
double cosine(const std::vector<float> &out, const std::vector<float> &dense);

/// Dense attention mass inside the mask, over all rows and heads.
struct Recall {
  double mean = 1;
  double p1 = 1; ///< The smallest value that at least 1 % of rows do not exceed.
  double min = 1;
};
/// From the lse of the sparse and the dense result: a row's mass is exp(lse - lse_dense).
Recall recall(const std::vector<float> &lse, const std::vector<float> &lse_dense);
/// From the mass of every row; there is at least one.
Recall recall_of_rows(std::vector<double> rows);

/// `found` of the mass `wanted`: 1 if nothing is wanted; NaN counts as nothing found.
double hit_share(double found, double wanted);

/// The policy whose mask is "the exact mask" of a policy: the exact estimator, no shift.
Policy exact_policy(Policy policy);

/// [num_q_heads]: dense mass in (kept by the exact mask and by `mask`, outside R) / (kept by the exact mask, outside
/// R), 1 if the latter is nothing.
std::vector<double> hit_mass(const Tensors &tensors, const Policy &policy, float scale, const Mask &mask,
                             const Mask &exact_mask);

} // namespace sale::reference
