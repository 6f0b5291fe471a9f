// SPDX-License-Identifier: Apache-2.0
// The cap of logits (docs/numerics.md, section 15): in units of q·k, x becomes limit * tanh(x / limit), where
// limit = softcap / softmax_scale. Kernels hold it in units of two limits, which saves an instruction and a register:
// what then brings scores to nats is twice the softcap. Keys are hidden after it: -inf would become a finite score.
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

SALE_DEVICE f32 softcap_limit(f32 softcap, f32 softmax_scale) { return div_rn(softcap, softmax_scale); }

SALE_DEVICE f32 softcap_factor(f32 softcap, f32 softmax_scale) {
  return div_rn(2.0F * log2_of_e() * softmax_scale, softcap);
}

// tanh(y) / 2 = 1/2 - 1 / (1 + e^(2y)); where the power overflows that is 1/2. x is in units of q·k.
SALE_DEVICE f32 capped(f32 x, f32 factor) { return 0.5F - rcp_approx(1.0F + exp2_approx(factor * x)); }

// From the units of a kernel's scores to nats.
template <class Config>
SALE_DEVICE f32 score_scale(f32 softcap, f32 softmax_scale) {
  return Config::softcap ? 2.0F * softcap : softmax_scale;
}

// All scores of a lane.
template <int m_tiles, int key_tiles>
SALE_DEVICE void cap_scores(f32 (&scores)[m_tiles][key_tiles][4], f32 factor) {
#pragma unroll
  for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[m][n][i] = capped(scores[m][n][i], factor);
      }
    }
  }
}

// The inverse of tanh, in limits: of what no x is capped to, the infinity of its side. NaN stays NaN.
SALE_DEVICE f32 uncapped(f32 u, f32 limit) {
  if (u >= 1.0F) {
    return infinity();
  }
  if (u <= -1.0F) {
    return -infinity();
  }
  return 0.5F * limit * ln_of_2() * log2_approx(div_rn(1.0F + u, 1.0F - u));
}
