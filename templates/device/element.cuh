// SPDX-License-Identifier: Apache-2.0
// The 16-bit element types, converted to and from fp32 two at a time, and fp8 (PTX ISA, "cvt").
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

// largest_probability: what attend's unnormalised probabilities may add up to, with room for outputs.
struct Bf16 {
  static constexpr f32 largest_probability = 1.152921504606846976e18F; // 2^60
  static SALE_DEVICE f32 low(u32 pair) { return bits_float(pair << 16); }
  static SALE_DEVICE f32 high(u32 pair) { return bits_float(pair & 0xffff0000U); }
  static SALE_DEVICE u32 pack(f32 low, f32 high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
};

struct F16 {
  static constexpr f32 largest_probability = 32768.0F;
  static SALE_DEVICE f32 low(u32 pair) {
    f32 r;
    asm("{\n\t.reg .b16 a, b;\n\tmov.b32 {a, b}, %1;\n\tcvt.f32.f16 %0, a;\n\t}" : "=f"(r) : "r"(pair));
    return r;
  }
  static SALE_DEVICE f32 high(u32 pair) {
    f32 r;
    asm("{\n\t.reg .b16 a, b;\n\tmov.b32 {a, b}, %1;\n\tcvt.f32.f16 %0, b;\n\t}" : "=f"(r) : "r"(pair));
    return r;
  }
  static SALE_DEVICE u32 pack(f32 low, f32 high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
};

// Four to a word; sm_89 and newer.
struct E4m3 {
  // a lowest; saturates to 448, NaN gives 0x7f.
  static SALE_DEVICE u32 pack(f32 a, f32 b, f32 c, f32 d) {
    u32 r;
    asm("{\n\t.reg .b16 low, high;\n\tcvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n\t"
        "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n\tmov.b32 %0, {low, high};\n\t}"
        : "=r"(r)
        : "f"(a), "f"(b), "f"(c), "f"(d));
    return r;
  }
  // The two low and the two high ones as a pair of F16.
  static SALE_DEVICE u32 low_pair(u32 word) {
    u32 r;
    asm("{\n\t.reg .b16 low, high;\n\tmov.b32 {low, high}, %1;\n\tcvt.rn.f16x2.e4m3x2 %0, low;\n\t}"
        : "=r"(r)
        : "r"(word));
    return r;
  }
  static SALE_DEVICE u32 high_pair(u32 word) {
    u32 r;
    asm("{\n\t.reg .b16 low, high;\n\tmov.b32 {low, high}, %1;\n\tcvt.rn.f16x2.e4m3x2 %0, high;\n\t}"
        : "=r"(r)
        : "r"(word));
    return r;
  }
};
