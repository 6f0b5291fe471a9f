// SPDX-License-Identifier: Apache-2.0
// Calibration of one layer: static channels and the threshold shift of every query head, from captured Q, K and V, and
// what they give on rows that they were not made from.
#pragma once

#include "calibrate/shift.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale {

struct CalibrationGoal {
  Policy policy; ///< Its channels or projection are kept if it has them; its shift is where judging starts from.
  float softmax_scale = 0; ///< > 0
  bool project = false;    ///< A projection instead of channels, where estimate_dim is below head_dim.
  double hit_mass = 0.99;
  float least_shift = 0; ///< No shift below this, in nats: smaller ones carry over badly (docs/quality.md).
};

struct HeadCalibration {
  Shift shift;
  Figures before; ///< On the judging part, with the policy's own shift.
  Figures after;  ///< With `shift`.
};

struct LayerCalibration {
  Policy policy; ///< The goal's, with shift_per_head and channels or projection filled in.
  std::vector<HeadCalibration> heads;
  int head_dim = 0;
};

/// Calibrates on `samples` and judges on `judges`, which have the same heads. No judges: query blocks with an even
/// index calibrate, the others judge. Throws Error(invalid_argument) when the samples are too short or do not fit
/// together.
LayerCalibration calibrate_layer(const CalibrationGoal &goal, const std::vector<reference::Tensors> &samples,
                                 const std::vector<reference::Tensors> &judges = {});

/// Throws Error(invalid_argument) unless all inputs have the heads of `first`.
void require_same_heads(const std::vector<reference::Tensors> &inputs, const reference::Tensors &first);

} // namespace sale
