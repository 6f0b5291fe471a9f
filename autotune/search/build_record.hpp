// SPDX-License-Identifier: Apache-2.0
// Decisions as what a tuning record holds of a GPU.
#pragma once

#include "autotune/search/buckets.hpp"
#include "autotune/search/decide.hpp"
#include "generator/tuning.hpp"

#include <vector>

namespace sale::autotune {

/// Every kernel of the buckets. Those that nobody decided (`decisions` are of the first buckets) get the default tile;
/// the shortest length's choice serves all below, the longest one's all above. Neighbours with the same tiles are one
/// choice; its facts say what each was measured at.
GpuTuning build_tuning(const GpuId &gpu, const TuningFacts &facts, const std::vector<TuneBucket> &buckets,
                       const std::vector<Decision> &decisions);

} // namespace sale::autotune
