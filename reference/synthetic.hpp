// SPDX-License-Identifier: Apache-2.0
// Seeded Q, K and V for tests, rounded to the element type: Gaussian noise, and data with the structure of real heads.
#pragma once

#include "reference/tensors.hpp"

#include <cstdint>

namespace sale::reference {

struct GaussianOptions {
  std::uint64_t seed = 1;
  float q_mean = 0.0F; ///< Size of a constant vector added to all rows of Q (a different one per head).
  float k_mean = 0.0F;
  float q_size = 1.0F; ///< Standard deviation of Q around its mean.
};

/// Independent normal values around a constant vector per head. With mean 0 almost nothing stands out: softmax is flat.
Tensors gaussian(const Problem &problem, const Shape &shape, const GaussianOptions &options = {});

/// An attention sink at the first keys, a local band, a few stripes (keys that everybody attends to), one needle (the
/// key at needle_key, seen by the last rows), an outlier channel and non-zero means. Softmax is peaked.
Tensors structured(const Problem &problem, const Shape &shape, std::uint64_t seed = 1);
int needle_key(const Shape &shape);

} // namespace sale::reference
