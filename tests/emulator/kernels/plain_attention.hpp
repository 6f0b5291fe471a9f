// SPDX-License-Identifier: Apache-2.0
// Attention by plain loops in double precision.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace sale::test {

std::uint16_t to_bf16(float value);
float from_bf16(std::uint16_t value);

/// bf16 tensors [heads, len, channels] without gaps; q has gqa times the heads of k and v.
struct PlainAttention {
  const std::vector<std::uint16_t> &q, &k, &v;
  int head_dim = 0;
  int gqa = 1;
  int q_len = 0;
  int kv_len = 0;
  bool causal = true;
  double scale = 1;
  double softcap = 0; ///< Of scaled scores; 0 = none.
  int v_head_dim = 0; ///< Of v and the output; 0 = head_dim.

  struct Row {
    std::vector<double> out;
    double lse;
  };
  /// Over the visible keys that `kept` says yes to.
  Row row(int head, int row, const std::function<bool(int key)> &kept) const;
};

} // namespace sale::test
