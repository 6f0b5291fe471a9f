// SPDX-License-Identifier: Apache-2.0
// Where the rows of one head's query block lie while prepare writes what select needs of them. Row 0 is the block's
// first; rows from `existing` on are padding.
#pragma once

#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"

struct QueryRows {
  u32 q;          // the rows of Q: swizzled tile in shared memory
  u32 thresholds; // their T, in shared memory
  s32 existing;
  f32 shift_logits;
  // In global memory:
  f32 *threshold;
  f32 *theta;
  f32 *scale;
  u8 *codes;
  u32 *metadata; // fp8, pruned: see store_kept

  SALE_DEVICE bool exists(s32 row) const { return row < existing; }
  SALE_DEVICE f32 threshold_of(s32 row) const { return load_shared_f32(thresholds + static_cast<u32>(row) * 4); }
  // n of docs/numerics.md, section 6; dot is 0 where K is not smoothed.
  SALE_DEVICE f32 offset(f32 t, f32 dot) const { return sub_rn(sub_rn(t, dot), shift_logits); }
};
