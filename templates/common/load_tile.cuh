// SPDX-License-Identifier: Apache-2.0
// Copies rows of global memory into a swizzled shared tile with cp.async; the caller commits and waits.
#pragma once

#include "common/key_rows.cuh"
#include "common/swizzle.cuh"
#include "device/cp_async.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

// Row i of the tile is row first + i of the source.
struct ConsecutiveRows {
  s32 first;
  SALE_DEVICE s32 operator()(s32 row) const { return first + row; }
};

// row_of(i) is the source row of tile row i; source rows at or past limit become zero. row_stride is in bytes.
template <int rows, int row_bytes, int threads, class RowOf>
SALE_DEVICE void load_tile(u32 tile, const u8 *source, s64 row_stride, s32 limit, const RowOf &row_of) {
  constexpr int chunks = row_bytes / 16;
  constexpr int total = rows * chunks;
#pragma unroll
  for (int i = 0; i < (total + threads - 1) / threads; ++i) {
    u32 row = 0;
    u32 chunk = 0;
    if constexpr (threads % chunks == 0) { // a thread keeps its chunk, so that addresses advance by constants
      row = thread_index() / chunks + i * (threads / chunks);
      chunk = thread_index() % chunks;
    } else {
      row = (thread_index() + i * threads) / chunks;
      chunk = (thread_index() + i * threads) % chunks;
    }
    if (total % threads == 0 || row < rows) {
      const s32 source_row = row_of(static_cast<s32>(row));
      const bool valid = source_row < limit;
      const u8 *address = source + (valid ? source_row * row_stride + s64{16} * chunk : 0);
      cp_async_16(tile + Swizzle<row_bytes>::offset(row, chunk), address, valid);
    }
  }
}

// As load_tile, of keys first_key, first_key + 1, .. of a head. Where they are paged first_key is a multiple of 32.
template <int rows, int row_bytes, int threads, class Config>
SALE_DEVICE void load_keys(u32 tile, const KeyRows<Config> &keys, s32 first_key, s32 limit) {
  if constexpr (Config::paged) {
#pragma unroll
    for (int piece = 0; piece < rows; piece += Config::page_rows) {
      const s32 first = first_key + piece;
      load_tile<Config::page_rows, row_bytes, threads>(tile + piece * row_bytes, keys.row_below(first, limit),
                                                       keys.stride(), limit - first, ConsecutiveRows{0});
    }
  } else {
    load_tile<rows, row_bytes, threads>(tile, keys.row(0), keys.stride(), limit, ConsecutiveRows{first_key});
  }
}
