// SPDX-License-Identifier: Apache-2.0
// Rows of codes in memory. Integers (docs/numerics.md, section 5): with Signed8 operands a code is a byte; with Signed4
// it is a nibble, the even channel low, and rows are padded with zeros to whole 32-byte MMA steps. fp8 (section 12):
// e4m3 bytes and power-of-two scales.
#pragma once

#include "common/eighth_row.cuh"
#include "common/estimator.cuh"
#include "device/element.cuh"
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

// The scales of fp8 codes are powers of two, found from n2, a row's sum of squares or a group's largest one.
struct FloatScale {
  static constexpr u32 tiny = 0x00800000U;       // 2^-126
  static constexpr u32 saturating = 0x55800000U; // 2^44
  static constexpr u32 not_finite = 0x7f800000U;

  // xk and xq: codes are the values times 2^x.
  static SALE_DEVICE s32 of_keys(f32 n2) { return n2 < bits_float(tiny) ? 0 : imin(imax(8 - height(n2), -14), 15); }
  static SALE_DEVICE s32 of_query(f32 n2) { return n2 < bits_float(tiny) ? 0 : imin(imax(7 - height(n2), -100), 100); }

  static SALE_DEVICE f32 power(s32 exponent) { return bits_float(static_cast<u32>(exponent + 127) << 23); }
  // What select reads of a group of keys: f16(2^xk) twice, NaN when its codes may have saturated.
  static SALE_DEVICE u32 word_of_keys(f32 n2) {
    return n2 < bits_float(saturating) ? static_cast<u32>(of_keys(n2) + 15) * 0x04000400U : 0x7fff7fffU;
  }
  static SALE_DEVICE bool is_finite(f32 n2) { return (float_bits(n2) & not_finite) != not_finite; }

private:
  // Norms are below 2^height; 65 for infinity and NaN.
  static SALE_DEVICE s32 height(f32 n2) { return ((static_cast<s32>(float_bits(n2) >> 23 & 0xffU) - 127) >> 1) + 1; }
};

// e4m3 of four values times a power of two.
SALE_DEVICE u32 float_codes(f32 a, f32 b, f32 c, f32 d, f32 power) {
  return E4m3::pack(mul_rn(a, power), mul_rn(b, power), mul_rn(c, power), mul_rn(d, power));
}

// Writes one row.
template <int dim>
SALE_DEVICE void store_float_codes(u8 *row, const EighthRow<dim> &values, f32 power) {
#pragma unroll
  for (int i = 0; i < EighthRow<dim>::per_lane; ++i) {
    const f32(&x)[8] = values.channel[i];
    if (EighthRow<dim>::has(i)) {
      store_global_8(row + s64{8} * EighthRow<dim>::chunk(i), float_codes(x[0], x[1], x[2], x[3], power),
                     float_codes(x[4], x[5], x[6], x[7], power));
    }
  }
}
