// SPDX-License-Identifier: Apache-2.0
// Which calls share a choice of tile, and in what order the choices are made.
#pragma once

#include "autotune/measure/task.hpp"
#include "generator/tuning.hpp"
#include "sale/sale.hpp"

#include <vector>

namespace sale::autotune {

/// Sparse attend's calls up to so dense a mask.
struct DensityBand {
  float up_to = 1;    ///< RunArgs::expected_density; 1 serves unknown densities too.
  float measured = 0; ///< Task::density.
};

/// Two: masks of a few percent, and all others, measured with what the policy keeps.
std::vector<DensityBand> default_bands();

/// One decision: the tile of calls up to so many keys and so dense a mask.
struct TuneBucket {
  Task task;
  float up_to_density = 1;
};

/// Every tunable kernel of the needs' plain Plans, once each, at every length; sparse attend in every band. Lengths are
/// powers of two; bands ascend, and the last is up to 1. Ordered so that what an interruption leaves undone matters
/// least: the longest lengths first, and there what takes most of a call. Throws Error(invalid_argument).
std::vector<TuneBucket> tune_buckets(const std::vector<Need> &needs, std::vector<int> lengths,
                                     const std::vector<DensityBand> &bands, const Arch &arch);

} // namespace sale::autotune
