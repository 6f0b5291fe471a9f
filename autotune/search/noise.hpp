// SPDX-License-Identifier: Apache-2.0
// What interleaved rounds say of two tiles: their ratio, and how far chance may have moved it.
#pragma once

#include <vector>

namespace sale::autotune {

/// 0 of nothing.
double median(std::vector<double> values);

struct Comparison {
  double ratio = 1; ///< Median over rounds of time / time: what drifts or is shared by a round cancels.
  double band = 0;  ///< Noise band of the ratio.
};

/// `a` against `b`, round by round; both have as many. The band is the standard error of a median of n normal samples,
/// sqrt(pi / 2) * sigma / sqrt(n) (Kendall & Stuart, Advanced Theory of Statistics I, 14.12), with sigma from the
/// median absolute deviation (1.4826 * MAD; Hampel 1974), so that outliers do not move it; never below `floor`.
Comparison compare(const std::vector<double> &a, const std::vector<double> &b, double floor);

} // namespace sale::autotune
