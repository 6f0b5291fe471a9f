// SPDX-License-Identifier: Apache-2.0
// The matrices of a policy file: safetensors beside the YAML, which names it (docs/calibrate.md). Tensor projection.L,
// F32 [num_kv_heads, 2, estimate_dim, head_dim], for every layer L.
#pragma once

#include "sale/types.hpp"

#include <filesystem>
#include <vector>

namespace sale::io {

/// Policy::projection of one layer.
struct LayerProjection {
  int num_kv_heads = 0;
  int estimate_dim = 0;
  int head_dim = 0;
  std::vector<float> values; ///< [num_kv_heads, 2, estimate_dim, head_dim]

  bool operator==(const LayerProjection &) const = default;
};

/// One projection per entry of `layers`. Throws Error when the file is not there, lacks one or holds anything else.
std::vector<LayerProjection> load_projections(const std::filesystem::path &path, const std::vector<int> &layers);

void write_projections(const std::filesystem::path &path, const std::vector<int> &layers,
                       const std::vector<LayerProjection> &projections);

} // namespace sale::io
