// SPDX-License-Identifier: Apache-2.0
// The arrays of a policy file: safetensors beside the YAML, which names it (docs/calibrate.md). For every layer L,
// tensor projection.L, F32 [num_kv_heads, 2, estimate_dim, head_dim], or kbar.L, F32 [num_kv_heads, head_dim], or both.
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

/// Policy::kbar of one layer.
struct LayerKbar {
  int num_kv_heads = 0;
  int head_dim = 0;
  std::vector<float> values; ///< [num_kv_heads, head_dim]

  bool operator==(const LayerKbar &) const = default;
};

/// Of every layer, or of none.
struct PolicyTensors {
  std::vector<LayerProjection> projection;
  std::vector<LayerKbar> kbar;

  bool empty() const { return projection.empty() && kbar.empty(); }
};

/// One of each kind that the file has per entry of `layers`. Throws Error when the file is not there, has a kind for
/// some layers only or holds anything else.
PolicyTensors load_policy_tensors(const std::filesystem::path &path, const std::vector<int> &layers);

void write_policy_tensors(const std::filesystem::path &path, const std::vector<int> &layers,
                          const PolicyTensors &tensors);

} // namespace sale::io
