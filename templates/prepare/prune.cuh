// SPDX-License-Identifier: Apache-2.0
// 2:4 sparse rows as wgmma.sp takes them (docs/numerics.md, section 12; PTX ISA, "wgmma.mma_async.sp"): of every four
// entries two stay, and four bits of metadata say which: the lower one's position, then the higher one's.
#pragma once

#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// Clears the two of least size of x[0..3], of equal ones the later; returns the metadata of the others.
SALE_DEVICE u32 prune_four(f32 *x, const f32 *weights) {
  u32 size[4]; // as bits, which are in the order of the values
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const u32 bits = float_bits(mul_rn(abs_f32(x[n]), weights[n]));
    size[n] = bits < 0x7f800000U ? bits : 0x7f800000U; // NaN counts as infinity
  }
  u32 greater[4] = {0, 0, 0, 0}; // how many come before this one
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int later = n + 1; later < 4; ++later) {
      const bool wins = size[later] > size[n];
      greater[n] += wins ? 1 : 0;
      greater[later] += wins ? 0 : 1;
    }
  }
  const u32 low = greater[0] < 2 ? 0 : (greater[1] < 2 ? 1 : 2);
  const u32 high = greater[3] < 2 ? 3 : (greater[2] < 2 ? 2 : 1);
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    x[n] = greater[n] < 2 ? x[n] : 0.0F;
  }
  return low | high << 2;
}

// kept[i]: metadata of the lane's chunk i, a byte.
template <int dim>
SALE_DEVICE void prune(EighthRow<dim> &row, const EighthRow<dim> &weights, u32 (&kept)[EighthRow<dim>::per_lane]) {
  static_assert(dim % 64 == 0, "every lane has every chunk");
#pragma unroll
  for (int i = 0; i < EighthRow<dim>::per_lane; ++i) {
    kept[i] = prune_four(row.channel[i], weights.channel[i]);
    kept[i] |= prune_four(row.channel[i] + 4, weights.channel[i] + 4) << 4;
  }
}

// x at the position that two bits of metadata give.
SALE_DEVICE f32 kept_low(const f32 *x, u32 metadata) {
  const u32 position = metadata & 3U;
  return position == 0 ? x[0] : (position == 1 ? x[1] : x[2]);
}
SALE_DEVICE f32 kept_high(const f32 *x, u32 metadata) {
  const u32 position = metadata >> 2 & 3U;
  return position == 3 ? x[3] : (position == 2 ? x[2] : x[1]);
}

// Writes the entries of one row that stayed: half as many bytes.
template <int dim>
SALE_DEVICE void store_pruned_codes(u8 *row, const EighthRow<dim> &values, const u32 (&kept)[EighthRow<dim>::per_lane],
                                    f32 power) {
#pragma unroll
  for (int i = 0; i < EighthRow<dim>::per_lane; ++i) {
    const f32 *const x = values.channel[i];
    store_global_4(row + s64{4} * EighthRow<dim>::chunk(i),
                   float_codes(kept_low(x, kept[i]), kept_high(x, kept[i]), kept_low(x + 4, kept[i] >> 4),
                               kept_high(x + 4, kept[i] >> 4), power));
  }
}

// Writes the metadata of rows `row` and row + 8 of a 16-row slab, a word per thread of the warpgroup that multiplies 64
// rows, [rows / 64, dim / 64, 128]. Of a slab, lane 4g + x + 2y of its warp has row g + 8x, channels 32y.. of the 64.
template <int dim>
SALE_DEVICE void store_kept(u32 *metadata, s32 row, const u32 (&kept)[2][EighthRow<dim>::per_lane]) {
  const u32 lane = thread_index() % 8;
#pragma unroll
  for (int i = 0; i < EighthRow<dim>::per_lane; ++i) {
    u32 word[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      word[r] = kept[r][i] << lane % 4 * 8;
      word[r] |= shuffle_xor(word[r], 1);
      word[r] |= shuffle_xor(word[r], 2);
    }
    if (lane % 4 == 0) {
      const s64 block = static_cast<s64>(row / 64) * (dim / 64) + i;
      const s32 thread = row % 64 / 16 * 32 + row % 8 * 4;
      store_global_8(metadata + block * 128 + thread + lane / 4 * 2, word[0], word[1]);
    }
  }
}
