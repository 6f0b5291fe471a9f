// SPDX-License-Identifier: Apache-2.0
// Decisions as what a tuning record holds of a GPU.
#pragma once

#include "autotune/search/buckets.hpp"
#include "autotune/search/decide.hpp"
#include "generator/tuning.hpp"

#include <vector>

namespace sale::autotune {

/// Every kernel of the buckets of which something was decided (`decisions` are of the first buckets). Its other buckets
/// keep the tile of `known`, this GPU's record before, and without one the default. The shortest length's choice serves
/// all below, the longest one's all above. Neighbours with the same tiles are one choice; its facts say what each was
/// measured at.
GpuTuning build_tuning(const GpuId &gpu, const TuningFacts &facts, const std::vector<TuneBucket> &buckets,
                       const std::vector<Decision> &decisions, const GpuTuning *known = nullptr);

} // namespace sale::autotune
