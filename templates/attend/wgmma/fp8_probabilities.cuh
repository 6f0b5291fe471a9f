// SPDX-License-Identifier: Apache-2.0
// From scores in f16 straight to the e4m3 codes of probabilities (docs/numerics.md, section 14).
//
// Eight steps of an e4m3 code double its value, with straight lines between powers of two. So the nearest integer to t,
// t = 8·(y - M) and y the score in log2 units, is the code of about 2^(y-M), without an exponential: one fma. Below 8
// codes are linear; t/4 + 4.5 stays near them there and is the larger of the two. f16 has no fractions from 1024 to
// 2047, so that the fma which adds 1024 rounds as well, and the low byte of the result is the code.
#pragma once

#include "device/element.cuh"
#include "device/half2.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/pack.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// Of two rows of a lane, r; d as wgmma leaves it: of columns 8n + 2(lane%4), +1 word 2n + r.
template <class Config>
class Probabilities {
  static constexpr int blocks = Config::keys_per_step / 32;
  static constexpr s32 largest_code = 126;
  static constexpr s32 first_code = 112; // of the largest probability when a base is chosen: headroom for 2^1.75
  static constexpr u32 infinite = 0x7c007c00U;
  static constexpr u32 quarter = 0x34003400U;
  static constexpr u32 zero_code = 0x64006400U;   // 1024
  static constexpr u32 line_offset = 0x62096209U; // 1024 + 4.5 - 1024/4

public:
  static constexpr int words = Config::keys_per_step / 4;
  using Scores = u32[words];

  enum class Fit { well, large, no_base };

  // Scores of row r are products times unit[r], a power of two, and 2^-xk: eight to a factor of two.
  SALE_DEVICE void begin(const f32 (&unit)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      unit_[r] = F16::pack(unit[r], unit[r]);
      offset_[r] = infinite;
    }
  }

  // Scores become codes, from 1024 on, unless some row of the warp has no base; they may be too large.
  SALE_DEVICE Fit encode(Scores &d, u32 scales) const {
    if (warp_any(offset_[0] == infinite || offset_[1] == infinite)) {
      return Fit::no_base;
    }
    const u32 top = force_encode(d, scales);
    // A branch that needs the codes also keeps ptxas from waiting for the values before them.
    return warp_any(exceeds(top)) ? Fit::large : Fit::well;
  }

  // Whatever the bases. Returns the largest of each half word.
  SALE_DEVICE u32 force_encode(Scores &d, u32 scales) const {
    u32 top = zero_code;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const u32 low_offset = fma_half2(offset_[r], quarter, line_offset);
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const u32 unit = unit_of(r, scales, b);
        const u32 low_unit = mul_half2(unit, quarter);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          u32 &pair = d[b * 8 + n * 2 + r];
          const u32 steps = fma_half2(pair, unit, offset_[r]);
          const u32 line = fma_half2(pair, low_unit, low_offset);
          pair = max_half2(max_half2(steps, line), zero_code);
        }
        const u32 *const row = d + b * 8 + r;
        top = max_half2(max_half2(top, row[0]), row[2]);
        top = max_half2(max_half2(top, row[4]), row[6]);
      }
    }
    return top;
  }

  // A base for rows that see a key now, a higher one for those that have a higher score. What was summed up so far is
  // worth factor[r].
  SALE_DEVICE void raise_base(const Scores &d, u32 scales, f32 (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      u32 highest = 0xfc00fc00U;
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const u32 *const row = d + b * 8 + r;
        const u32 of_block = max_half2(max_half2(max_half2(row[0], row[2]), row[4]), row[6]);
        highest = max_half2(highest, mul_half2(of_block, unit_of(r, scales, b)));
      }
      const u32 offset = pair_of(static_cast<f32>(1024 + first_code) - of_row(highest));
      const bool higher = F16::low(offset) < F16::low(offset_[r]);
      factor[r] = higher ? exp2_approx((F16::low(offset) - F16::low(offset_[r])) * 0.125F) : 1.0F;
      offset_[r] = higher ? offset : offset_[r];
    }
  }

  // Codes that are too large and all others of their rows go down by whole factors of two. Beyond 1023, which is 2^115
  // over the base, they were rounded: to evens, then multiples of four, ...
  SALE_DEVICE void lower(Scores &d, f32 (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      u32 highest = zero_code;
#pragma unroll
      for (int n = 0; n < words / 2; ++n) {
        highest = max_half2(highest, d[2 * n + r]);
      }
      const s32 top = static_cast<s32>(of_row(highest)) - 1024;
      const s32 down = top > largest_code ? (top - first_code + 7) / 8 * 8 : 0;
      const u32 offset = down == 0 ? offset_[r] : pair_of(F16::low(offset_[r]) - to_float_rn(down));
      const f32 moved = down == 0 ? 0.0F : F16::low(offset_[r]) - F16::low(offset);
      factor[r] = exp2_approx(moved * -0.125F);
      offset_[r] = offset;
#pragma unroll
      for (int n = 0; n < words / 2; ++n) {
        d[2 * n + r] = max_half2(sub_half2(d[2 * n + r], pair_of(moved)), zero_code);
      }
    }
  }

  // values.cuh says why this is the A fragment of P·V.
  static SALE_DEVICE void pack(u32 (&codes)[blocks][4], const Scores &d) {
#pragma unroll
    for (int i = 0; i < blocks * 4; ++i) {
      const u32 *const pairs = d + i / 2 * 4 + i % 2;
      codes[i / 4][i % 4] = permute_bytes(pairs[0], pairs[2], 0x6420);
    }
  }

  // log2 of what sums of row r are to be multiplied with. The straight lines lie above 2^x by 1/(2 ln² 2) = 2^0.0575 on
  // the average; code 56 is 1.
  SALE_DEVICE f32 log2_unit(int r) const {
    return (static_cast<f32>(1024 + 56) - F16::low(offset_[r])) * 0.125F - 0.05754F;
  }

private:
  // Of block b of a tile. 0 makes NaN of masked scores, which maxima pass over.
  SALE_DEVICE u32 unit_of(int r, u32 scales, int b) const {
    return mul_half2(unit_[r], load_shared_4(scales + b * 16));
  }

  static SALE_DEVICE bool exceeds(u32 pair) {
    constexpr u32 limit = (zero_code & 0xffffU) + static_cast<u32>(largest_code);
    return (pair & 0xffffU) > limit || pair >> 16 > limit;
  }

  static SALE_DEVICE u32 pair_of(f32 x) { return F16::pack(x, x); }

  // Of the lanes that share a row.
  static SALE_DEVICE f32 of_row(u32 pair) {
    pair = max_half2(pair, shuffle_xor(pair, 1));
    pair = max_half2(pair, shuffle_xor(pair, 2));
    return max_f32(F16::low(pair), F16::high(pair));
  }

  u32 unit_[2];
  u32 offset_[2]; // 1024 - 8·M, twice
};
