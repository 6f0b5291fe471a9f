// Where 16-byte chunk `chunk` of row `row` lies in a shared tile whose rows are `row_bytes` long, so that ldmatrix
// (eight rows, one chunk) and row-wise stores touch every bank group once. Row lengths need not be powers of two.
#pragma once

#include "device/types.cuh"

template <int row_bytes>
struct Swizzle {
  static constexpr int chunks = row_bytes / 16;
  // Rows whose start falls on the same bank group repeat every `period` rows; within that the low bits of the chunk are
  // permuted.
  static constexpr int aligned = chunks % 8 == 0 ? 8 : chunks % 4 == 0 ? 4 : chunks % 2 == 0 ? 2 : 1;
  static constexpr int period = 8 / aligned;

  static SALE_DEVICE u32 offset(u32 row, u32 chunk) {
    return row * row_bytes + ((chunk ^ ((row / period) & (aligned - 1))) << 4);
  }
};
