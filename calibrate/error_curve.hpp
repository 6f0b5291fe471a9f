// SPDX-License-Identifier: Apache-2.0
// The output error of one query head of one sequence as a function of tau: all of it, from one pass over the attention.
#pragma once

#include "calibrate/output_error.hpp"
#include "calibrate/sequences.hpp"

#include <cstddef>
#include <vector>

namespace sale {

/// A step function of ln tau. A block is kept iff its largest ln RAS (plus the head's shift) exceeds ln tau, and all
/// masks of a tau are nested: so the error changes only where tau passes a block, and by an amount that is known.
struct ErrorCurve {
  struct Step {
    double log_tau = 0; ///< From here on a block is dropped.
    double change = 0;  ///< Of sum |out - dense|; below 0 where the dropped block made the output worse.
  };

  std::size_t rows = 0;
  double size = 0;         ///< sum |dense|
  double least_error = 0;  ///< sum |out - dense| at the least tau asked for.
  std::vector<Step> steps; ///< Ascending, between the least and the largest tau.

  /// The least ln tau at which the error is above the bound: every tau below it, down to the least, is within.
  /// -infinity if the least is not; +infinity if none is above.
  double end_of(const ErrorBound &bound) const;
};

/// [num_q_heads]. The policy's tau is not read, its shift is.
std::vector<ErrorCurve> error_curves(const Sequence &sequence, const Policy &policy, float scale, float least_tau,
                                     float largest_tau);

} // namespace sale
