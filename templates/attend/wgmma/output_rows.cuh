// SPDX-License-Identifier: Apache-2.0
// Rows of output, from the accumulators of a warpgroup straight to global memory.
#pragma once

#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// Word i of lane j of a quad becomes word j of lane i.
SALE_DEVICE void transpose_quad(Vec16 &words) {
  u32(&w)[4] = words.word;
  const bool odd = (lane_index() & 1U) != 0;
  const u32 a = shuffle_xor(odd ? w[0] : w[1], 1);
  const u32 b = shuffle_xor(odd ? w[2] : w[3], 1);
  (odd ? w[0] : w[1]) = a;
  (odd ? w[2] : w[3]) = b;
  const bool high = (lane_index() & 2U) != 0;
  const u32 c = shuffle_xor(high ? w[0] : w[2], 2);
  const u32 d = shuffle_xor(high ? w[1] : w[3], 2);
  (high ? w[0] : w[2]) = c;
  (high ? w[1] : w[3]) = d;
}

// Row half r of a lane's accumulators, times `factor`, to the row at `out`. Four lanes trade the words of four tiles of
// columns, so that each stores 16 bytes. Whole warps call it.
template <class Element, int size>
SALE_DEVICE void store_output_row(u8 *out, const f32 (&accumulators)[size], int r, f32 factor, bool exists) {
#pragma unroll
  for (int tile = 0; tile < size / 4; tile += 4) {
    Vec16 words;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 4 * (tile + i) + 2 * r;
      words.word[i] = Element::pack(accumulators[at] * factor, accumulators[at + 1] * factor);
    }
    transpose_quad(words);
    if (exists) {
      store_global_16(out + 16 * (tile + lane_index() % 4), words);
    }
  }
}
