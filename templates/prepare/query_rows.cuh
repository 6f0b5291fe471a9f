// SPDX-License-Identifier: Apache-2.0
// Where the rows of one head's query block lie while prepare writes what select needs of them. Row 0 is the block's
// first; rows from `existing` on are padding.
#pragma once

#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

struct QueryRows {
  u32 q;          // the block's rows of Q, padding is zero: swizzled tile in shared memory
  u32 thresholds; // their T, in shared memory
  u32 weights;    // fp8, projected: shared memory for the weights of the projection
  s32 existing;
  f32 shift_logits;
  // In global memory:
  f32 *threshold;
  f32 *theta;
  f32 *scale;
  u8 *codes;
  u32 *metadata; // fp8, pruned: see store_metadata

  // A warp takes its rows eight at a time: positions 0, 8, 16, .. Eight lanes have two of them, r and r + 8 of a slab
  // of 16, and then r + 4 and r + 12; this is the first.
  static SALE_DEVICE s32 row_of(s32 position) {
    return position / 16 * 16 + position % 16 / 2 + static_cast<s32>(lane_index() / 8);
  }
  SALE_DEVICE bool exists(s32 row) const { return row < existing; }
  SALE_DEVICE f32 threshold_of(s32 row) const {
    return exists(row) ? load_shared_f32(thresholds + static_cast<u32>(row) * 4) : infinity();
  }
  // n of docs/numerics.md, section 6.
  SALE_DEVICE f32 offset(f32 t, f32 dot) const { return sub_rn(sub_rn(t, dot), shift_logits); }
};

// Writes `count` rows of padding that lie behind the query block, a warp together.
template <class Queries, int count>
SALE_DEVICE void write_padding(const QueryRows &rows, s32 first) {
  const s32 lane = static_cast<s32>(lane_index());
  const Vec16 zero = {{0, 0, 0, 0}};
  for (s32 chunk = lane; chunk < count * Queries::code_row_bytes / 16; chunk += 32) {
    store_global_16(rows.codes + static_cast<s64>(first) * Queries::code_row_bytes + s64{16} * chunk, zero);
  }
  for (s32 row = first + lane; row < first + count; row += 32) {
    store_global_f32(rows.threshold + row, infinity());
    store_global_f32(rows.theta + row, infinity());
    if (Queries::code_row_bytes != 0) {
      store_global_f32(rows.scale + row, 0.0F);
    }
  }
  if constexpr (Queries::metadata_words != 0) {
#pragma unroll
    for (int slab = 0; slab < count; slab += 16) {
      Queries::store_padding_metadata(rows.metadata, first + slab);
    }
  }
}
