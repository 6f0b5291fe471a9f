// SPDX-License-Identifier: Apache-2.0
// Row thresholds T (docs/numerics.md, section 3) and theta, the same in select's frame (sections 6
// and 12).
#pragma once

#include "reference/quantize.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

/// All [batch, num_q_heads, q_len].
struct Thresholds {
  std::vector<double> m;    ///< Largest x_ij over the reference keys, after softcap; of a sink logit too.
  std::vector<double> l;    ///< Sum of exp(s (x_ij - m_i)) over the same.
  std::vector<float> value; ///< T_i, before softcap: formed in fp64, rounded once.
};

/// `scale` is the softmax scale s; tau and the region come from the policy.
Thresholds thresholds(const Tensors &tensors, const Policy &policy, float scale);

/// All [batch, num_q_heads, q_len].
struct FrameThresholds {
  std::vector<float> offset;  ///< n_i: T_i - q_i . kbar - shift / s, in units of q . k.
  std::vector<float> theta;   ///< theta_i: what the estimates are compared with.
  std::vector<float> theta16; ///< fp8: theta_i rounded down to f16; empty for others.
};

/// kbar is not read for Estimator::exact; `queries` gives sq.
FrameThresholds frame_thresholds(const Tensors &tensors, const Policy &policy, float scale,
                                 const std::vector<float> &kbar, const std::vector<float> &threshold,
                                 const QuantizedQueries &queries);

} // namespace sale::reference
