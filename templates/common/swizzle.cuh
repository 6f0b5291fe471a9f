// SPDX-License-Identifier: Apache-2.0
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

  // What one lane of an ldmatrix reads, stepping through a tile by constants: few registers, and immediate offsets.
  class Lane {
    static_assert(aligned >= 2, "the lane's chunk is the low bit");

  public:
    // The lane's own row, and its chunk: 0 or 1.
    SALE_DEVICE Lane(u32 tile, u32 row, u32 chunk)
        : base_(tile + row * row_bytes), turn_((chunk ^ ((row / period) & (aligned - 1))) << 4) {}

    // `rows` rows (a multiple of 8) and `chunk` chunks (even) further.
    SALE_DEVICE u32 at(int rows, int chunk) const {
      return base_ + (static_cast<u32>(chunk % aligned << 4) ^ turn_) + rows * row_bytes +
             chunk / aligned * aligned * 16;
    }

  private:
    u32 base_;
    u32 turn_;
  };
};
