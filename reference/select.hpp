// SPDX-License-Identifier: Apache-2.0
// Which key blocks a query block keeps (docs/numerics.md, sections 5 to 7 and 12), for every estimator.
#pragma once

#include "reference/channels.hpp"
#include "reference/mask.hpp"
#include "reference/quantize.hpp"
#include "reference/tensors.hpp"
#include "reference/thresholds.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace sale::reference {

/// Everything that select compares.
struct Estimates {
  Channels channels;        ///< fp8 only.
  QuantizedKeys keys;       ///< Empty for exact.
  QuantizedQueries queries; ///< Empty for exact.
  FrameThresholds rows;
};

/// `threshold` is T, [batch, num_q_heads, q_len]. kbar may be empty for exact; qbar is read by int4 only. `channels`
/// are for fp8; null = as choose_channels says.
Estimates prepare_estimates(const Tensors &tensors, const Policy &policy, float scale, const std::vector<float> &kbar,
                            const std::vector<float> &qbar, const std::vector<float> &threshold,
                            const Channels *channels = nullptr);

/// The mask: R, the estimated blocks that some row selects, and for heads with tau 0 every visible block. Exact
/// estimates are formed in fp64 and rounded to fp32 before the compare; integer ones are the kernels' bit for bit; fp8
/// ones are exact sums of products of codes. Only query blocks m with chosen[m] are filled in; empty = all.
Mask select(const Tensors &tensors, const Policy &policy, const Estimates &estimates,
            const std::vector<bool> &chosen = {});
/// The same from T and the means.
Mask select(const Tensors &tensors, const Policy &policy, float scale, const std::vector<float> &kbar,
            const std::vector<float> &qbar, const std::vector<float> &threshold);

/// How far each block is from being dropped: the maximum over its (row, key) pairs of estimate - threshold, in units of
/// q . k. > 0 means kept, up to rounding. A mask that differs from the oracle's is acceptable only where |margin| is
/// within the stated bound. +infinity: kept whatever the estimates; -infinity: not visible, or no pair can select.
class Margins {
public:
  Margins(int num_q_heads, int q_blocks, int k_blocks, std::vector<double> values)
      : num_q_heads_(num_q_heads), q_blocks_(q_blocks), k_blocks_(k_blocks), values_(std::move(values)) {}
  double at(int b, int h, int q_block, int k_block) const {
    return values_[((static_cast<std::size_t>(b) * num_q_heads_ + h) * q_blocks_ + q_block) * k_blocks_ + k_block];
  }

private:
  int num_q_heads_;
  int q_blocks_;
  int k_blocks_;
  std::vector<double> values_; // [batch, num_q_heads, q_blocks, k_blocks]
};

/// Of query blocks m with chosen[m], empty = all; -infinity of the others.
Margins estimate_margins(const Tensors &tensors, const Policy &policy, const Estimates &estimates,
                         const std::vector<bool> &chosen = {});

/// fp8: the same in units of D, the sum that tensor cores form in f16. Given the same codes and thresholds, a kernel's
/// mask may differ from the oracle's only where |margin| <= fp8_sum_bound.
Margins fp8_sum_margins(const Tensors &tensors, const Policy &policy, const Estimates &estimates);
double fp8_sum_bound(int estimate_dim);

} // namespace sale::reference
