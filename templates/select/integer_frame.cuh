// SPDX-License-Identifier: Apache-2.0
// Two ways to carry integer estimates in accumulators.
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

// An integer n with |n| < 2^22 is carried as the bits of the float 1.5·2^23 + n, which order like n and add like
// integers, so rounding is one addition and conversion one subtraction, at full rate where cvt runs at a quarter or
// less. int8 stays within 127² · 256 < 2^22.
struct IntegerFrame {
  static constexpr s32 zero = 0x4b400000; // 1.5·2^23
  static constexpr f32 base = 12582912.0F;
  static constexpr f32 narrow_limit = 2097152.0F; // 2^21: a bias up to this leaves room for the int4 products

  // Nearest integer, ties to even; |x| <= narrow_limit.
  static SALE_DEVICE s32 round(f32 x) { return static_cast<s32>(float_bits(add_rn(x, base))); }
  // The integer that `carried` stands for, as a float.
  static SALE_DEVICE f32 from_carried(s32 carried) { return sub_rn(bits_float(static_cast<u32>(carried)), base); }
  // float(n), |n| < 2^22.
  static SALE_DEVICE f32 small_to_float(s32 n) { return from_carried(n + zero); }
};

// Plain integers, for int4 biases outside the frame: clamped to ±2^30; NaN, which never selects, lies far below.
struct WideInteger {
  static constexpr f32 limit = 1073741824.0F;
  static constexpr s32 absent = -0x70000000;

  static SALE_DEVICE s32 round(f32 x) { return x == x ? to_int_rn(min_f32(max_f32(x, -limit), limit)) : absent; }
  static SALE_DEVICE bool exists(s32 best) { return best > -0x60000000; }
};
