// SPDX-License-Identifier: Apache-2.0
// Q · Kᵀ of one warp: its rows of Q and a tile of K, both swizzled 16-bit tiles in shared memory.
#pragma once

#include "common/swizzle.cuh"
#include "device/ldmatrix.cuh"
#include "device/mma.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

// scores[m][n] is the accumulator of query rows 16m.. and keys 8n..; a lane holds of it rows lane/4, lane/4 + 8 and
// columns 2(lane%4), 2(lane%4) + 1.
template <class Element, int head_dim, int m_tiles, int key_tiles>
SALE_DEVICE void multiply_queries_and_keys(f32 (&scores)[m_tiles][key_tiles][4], u32 q_shared, u32 k_shared) {
  using Lane = typename Swizzle<head_dim * 2>::Lane;
  const u32 lane = lane_index();
  const Lane q_lane(q_shared, lane % 16, lane / 16);
  // Two n8 tiles at once: matrices 0, 1 are the 16-byte halves of keys 0-7, matrices 2, 3 those of keys 8-15.
  const Lane k_lane(k_shared, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[m][n][i] = 0.0F;
      }
    }
  }
#pragma unroll
  for (int k = 0; k < head_dim / 16; ++k) {
    u32 a[m_tiles][4];
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
      ldmatrix_x4(a[m], q_lane.at(m * 16, k * 2));
    }
#pragma unroll
    for (int n = 0; n < key_tiles / 2; ++n) {
      u32 b[4];
      ldmatrix_x4(b, k_lane.at(n * 16, k * 2));
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
        mma(Element{}, scores[m][2 * n], a[m], b[0], b[1]);
        mma(Element{}, scores[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}
