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

// The half of an EighthRow that stays. Row i of it has four entries of the lane's chunk i, in their order.
template <int dim>
struct PrunedRow {
  static constexpr int per_lane = EighthRow<dim>::per_lane;
  static_assert(dim % 64 == 0, "every lane has every chunk");

  f32 kept[per_lane][4];

  // metadata: a byte for each chunk.
  SALE_DEVICE PrunedRow(const EighthRow<dim> &row, const EighthRow<dim> &weights, u32 (&metadata)[per_lane]) {
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      metadata[i] = prune_four(kept[i], row.channel[i], weights.channel[i]);
      metadata[i] |= prune_four(kept[i] + 2, row.channel[i] + 4, weights.channel[i] + 4) << 4;
    }
  }

  // canonical_dot of the row with itself: what was dropped would add nothing.
  SALE_DEVICE f32 squared_norm() const {
    f32 sum = 0.0F;
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        sum = fma_rn(kept[i][c], kept[i][c], sum);
      }
    }
    return eighth_row_sum(sum);
  }

  // Writes half as many bytes as the row has entries.
  SALE_DEVICE void store_codes(u8 *row, f32 power) const {
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      store_global_4(row + s64{4} * EighthRow<dim>::chunk(i),
                     float_codes(kept[i][0], kept[i][1], kept[i][2], kept[i][3], power));
    }
  }

private:
  // The two of x[0..3] of largest |x|·weight, of equal ones the earlier, and their metadata.
  static SALE_DEVICE u32 prune_four(f32 *result, const f32 *x, const f32 *weights) {
    f32 size[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      size[n] = min_f32(mul_rn(abs_f32(x[n]), weights[n]), infinity()); // NaN counts as infinity
    }
    const bool second_first = size[1] > size[0]; // of the first pair, the second entry is the greater
    const bool second_last = size[3] > size[2];
    const bool both_first = min_f32(size[0], size[1]) >= max_f32(size[2], size[3]);
    const bool both_last = min_f32(size[2], size[3]) > max_f32(size[0], size[1]);
    const u32 low = both_first ? 0U : (both_last ? 2U : (second_first ? 1U : 0U));
    const u32 high = both_first ? 1U : (both_last ? 3U : (second_last ? 3U : 2U));
    result[0] = both_first ? x[0] : (both_last ? x[2] : (second_first ? x[1] : x[0]));
    result[1] = both_first ? x[1] : (both_last ? x[3] : (second_last ? x[3] : x[2]));
    return low | high << 2;
  }
};

// Writes the metadata of rows `row` and row + 8 of a 16-row slab, a word per thread of the warpgroup that multiplies 64
// rows, [rows / 64, dim / 64, 128]. Of a slab, lane 4g + x + 2y of its warp has row g + 8x, channels 32y.. of the 64.
template <int dim>
SALE_DEVICE void store_metadata(u32 *metadata, s32 row, const u32 (&kept)[2][EighthRow<dim>::per_lane]) {
  const u32 lane = thread_index() % 8;
#pragma unroll
  for (int i = 0; i < EighthRow<dim>::per_lane; ++i) {
    u32 word[2] = {kept[0][i], kept[1][i]};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      word[r] <<= lane % 4 * 8;
      word[r] |= shuffle_xor(word[r], 1);
      word[r] |= shuffle_xor(word[r], 2);
    }
    if (lane % 4 == 0) {
      const s64 block = static_cast<s64>(row / 64) * (dim / 64) + i;
      const s32 thread = row % 64 / 16 * 32 + row % 8 * 4 + static_cast<s32>(lane / 4 * 2);
      store_global_8(metadata + block * 128 + thread, word[0], word[1]);
    }
  }
}

// As store_metadata, of 16 rows of zeros: a warp together.
template <int dim>
SALE_DEVICE void store_zero_metadata(u32 *metadata, s32 row) {
  const s64 first = static_cast<s64>(row / 64) * (dim / 64) * 128 + s64{32} * (row % 64 / 16);
#pragma unroll
  for (int i = 0; i < dim / 64; ++i) {
    store_global_4(metadata + first + s64{128} * i + lane_index(), 0x44444444U);
  }
}
