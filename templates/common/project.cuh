// SPDX-License-Identifier: Apache-2.0
// Rows times a matrix of fp32 weights, one fma chain per entry in the order of the channels (docs/numerics.md, section
// 12). Each lane forms its own entries of an EighthRow, so weights are read once for all of its rows.
#pragma once

#include "common/eighth_row.cuh"
#include "common/swizzle.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"

// source(x, d) gives channels d..d+3 of each of the lane's rows. weights: [estimate_dim, head_dim].
template <class Config, int count, class Source>
SALE_DEVICE void project(EighthRow<Config::estimate_dim> (&rows)[count], const f32 *weights, const Source &source) {
  using Row = EighthRow<Config::estimate_dim>;
#pragma unroll
  for (int r = 0; r < count; ++r) {
    rows[r].clear();
  }
#pragma unroll 1
  for (u32 d = 0; d < Config::head_dim; d += 4) {
    f32 x[count][4];
    source(x, d);
#pragma unroll
    for (int i = 0; i < Row::per_lane; ++i) {
      if (Row::has(i)) {
#pragma unroll
        for (int c = 0; c < 8; ++c) {
          const Vec16 w = load_global_16(weights + (s64{8} * Row::chunk(i) + c) * Config::head_dim + d);
#pragma unroll
          for (int e = 0; e < 4; ++e) {
#pragma unroll
            for (int r = 0; r < count; ++r) {
              rows[r].channel[i][c] = fma_rn(bits_float(w.word[e]), x[r][e], rows[r].channel[i][c]);
            }
          }
        }
      }
    }
  }
}

// Channels d..d+3 (d a multiple of 4) of row `row` of a swizzled shared tile of 16-bit elements.
template <class Element, int head_dim>
SALE_DEVICE void load_quad(f32 (&x)[4], u32 tile, u32 row, u32 d) {
  const u32 address = tile + Swizzle<head_dim * 2>::offset(row, d / 8) + d % 8 * 2;
  const u32 low = load_shared_4(address);
  const u32 high = load_shared_4(address + 4);
  x[0] = Element::low(low);
  x[1] = Element::high(low);
  x[2] = Element::low(high);
  x[3] = Element::high(high);
}
