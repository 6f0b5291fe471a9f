// SPDX-License-Identifier: Apache-2.0
// Power-of-two scales of attend's e4m3 codes (docs/numerics.md, section 14).
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

struct AmaxScale {
  // x: codes are the values times 2^x, the largest in (224, 448].
  static SALE_DEVICE s32 exponent(f32 amax) {
    // The exponent bits of amax, one more where its mantissa exceeds 1.75.
    const u32 bits = (float_bits(amax) + 0x1fffffU) >> 23;
    return imin(imax(135 - static_cast<s32>(bits), -100), 100);
  }
  static SALE_DEVICE f32 power(s32 exponent) { return bits_float(static_cast<u32>(exponent + 127) << 23); }
};
