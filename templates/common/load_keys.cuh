// SPDX-License-Identifier: Apache-2.0
// Copies consecutive keys of a head into a swizzled shared tile with cp.async; the caller commits and waits.
#pragma once

#include "common/load_tile.cuh"
#include "device/types.cuh"

// Keys from first_key on, below kv_len; what lies past kv_len becomes zero. Rows::row(key) says where a key lies; up to
// the next multiple of `granule` keys are evenly spaced by Rows::stride() bytes.
template <int keys, int row_bytes, int threads, int granule, class Rows>
SALE_DEVICE void load_keys(u32 tile, const Rows &rows, s32 first_key, s32 kv_len) {
  static_assert(keys % granule == 0, "whole granules");
#pragma unroll
  for (s32 i = 0; i < keys; i += granule) {
    const s32 key = first_key + i;
    load_tile<granule, row_bytes, threads>(tile + static_cast<u32>(i * row_bytes),
                                           rows.row(key < kv_len ? key : first_key), rows.stride(), kv_len - key,
                                           ConsecutiveRows{0});
  }
}
