// SPDX-License-Identifier: Apache-2.0
// Rows of integer codes in memory (docs/numerics.md, section 5). With Signed8 operands a code is a byte; with Signed4
// it is a nibble, the even channel low, and rows are padded with zeros to whole 32-byte MMA steps.
#pragma once

#include "common/eighth_row.cuh"
#include "common/estimator.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/mma.cuh"
#include "device/pack.cuh"
#include "device/types.cuh"

SALE_DEVICE void store_codes(Signed8, u8 *row, u32 chunk, const s32 (&code)[8]) {
  store_global_8(row + s64{8} * chunk, pack_bytes(code[0], code[1], code[2], code[3]),
                 pack_bytes(code[4], code[5], code[6], code[7]));
}

SALE_DEVICE void store_codes(Signed4, u8 *row, u32 chunk, const s32 (&code)[8]) {
  u32 word = 0;
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    word |= (static_cast<u32>(code[c]) & 15U) << (4 * c);
  }
  store_global_4(row + s64{4} * chunk, word);
}

template <class Operand>
struct CodeChunk {
  static constexpr int bytes = 8;
};
template <>
struct CodeChunk<Signed4> {
  static constexpr int bytes = 4;
};

template <class Config>
struct Codes {
  static constexpr int limit = Config::estimator == Estimator::int8 ? 127 : 7;
  static constexpr u32 chunks = Config::code_row_bytes / CodeChunk<typename Config::Operand>::bytes;

  static SALE_DEVICE f32 scale(f32 amax) { return div_rn(amax, static_cast<f32>(limit)); }

  // Writes one row. amax = 0 gives 0·inf = NaN and so code 0, as the zero rows of EighthRow do.
  static SALE_DEVICE void store(u8 *row, const EighthRow<Config::head_dim> &values, f32 amax) {
    const f32 inverse = div_rn(static_cast<f32>(limit), amax);
#pragma unroll
    for (int i = 0; i < EighthRow<Config::head_dim>::per_lane; ++i) {
      s32 code[8];
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        code[c] = imin(imax(to_int_rn(mul_rn(values.channel[i][c], inverse)), -limit), limit);
      }
      const u32 chunk = EighthRow<Config::head_dim>::chunk(i);
      if (chunks % 8 == 0 || chunk < chunks) {
        store_codes(typename Config::Operand{}, row, chunk, code);
      }
    }
  }
};
