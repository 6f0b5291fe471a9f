// SPDX-License-Identifier: Apache-2.0
// Masks with no structure, and how full any mask is.
#pragma once

#include "sale/types.hpp"

#include <cstdint>
#include <vector>

namespace sale::bench {

/// Keeps the reference region and of the other visible blocks as many, drawn one by one, as make the whole `density`
/// (rows whose reference region alone is more keep just that). Words as docs/numerics.md section 9 lays them out.
std::vector<std::uint32_t> random_mask(const Problem &problem, const Policy &policy, const Shape &shape, double density,
                                       std::uint64_t seed);

/// Kept blocks / visible blocks, R included.
double mask_density(const std::vector<std::uint32_t> &words, const Problem &problem, const Policy &policy,
                    const Shape &shape);

} // namespace sale::bench
