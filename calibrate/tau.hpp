// SPDX-License-Identifier: Apache-2.0
// Calibration of one layer's thresholds: the largest tau of every query head that keeps its output within a bound on
// every calibration sequence, and what it gives on rows that it was not made from.
#pragma once

#include "calibrate/output_error.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale {

/// A smaller tau becomes 0: dense.
inline constexpr float least_tau = 1e-4F;

struct TauGoal {
  Policy policy;           ///< Its tau is not read; its shift and channels are kept.
  float softmax_scale = 0; ///< > 0
  bool project = false;    ///< A projection instead of channels, where estimate_dim is below head_dim.
  ErrorBound bound;
  float largest_tau = 0.016F; ///< No tau above this, however small the error.
  std::vector<int> lengths;   ///< Prefixes on which the bound must hold too, beside whole samples.
  int rows = 0;               ///< Query rows of a sequence to measure on, spread evenly; 0 = all.
};

/// On one sequence: a batch element of a sample, whole or cut.
struct SequenceError {
  int sample = 0; ///< Index of the input that it is from.
  int length = 0; ///< Keys.
  OutputError error;
};

struct HeadTau {
  float tau = 0; ///< 0 or from least_tau to the goal's largest.
  std::vector<SequenceError> judged;

  int violations(const ErrorBound &bound) const; ///< Judging sequences above the bound.
  OutputError total() const;                     ///< Of all judging sequences.
};

struct LayerTau {
  Policy policy; ///< The goal's, with tau_per_head and channels or projection filled in.
  std::vector<HeadTau> heads;
  int head_dim = 0;
};

/// Calibrates on `samples` and judges on `judges`, which have the same heads. No judges: query blocks with an even
/// index calibrate, the others judge. Plain causal attention. Throws Error(invalid_argument) when the goal asks for
/// what cannot be or the inputs do not fit together.
LayerTau calibrate_tau(const TauGoal &goal, const std::vector<reference::Tensors> &samples,
                       const std::vector<reference::Tensors> &judges = {});

} // namespace sale
